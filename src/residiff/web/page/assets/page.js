// Pasting, the mask's brush and the lens: what the page does in the browser alone. Nothing is fetched from elsewhere.
(() => {
  "use strict";
  const found = selector => document.querySelector(selector);

  document.addEventListener("paste", event => {
    const files = [...(event.clipboardData?.files ?? [])].filter(file => file.type.startsWith("image/"));
    const input = found("#file input[type=file]");
    if (!files.length || !input) return;
    event.preventDefault();
    const held = new DataTransfer();
    held.items.add(files[0]);
    input.files = held.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // The mask: strokes on a transparent canvas over the picture, told to the page as a black and white PNG
  const MARK = "#ec4899";
  const brush = { at: null, down: false, erases: false, source: "" };

  function prepareBrush() {
    const canvas = found("#brush"), image = found("#shown img");
    if (!canvas || !image || !image.complete || !image.naturalWidth || brush.source === image.src && canvas.dataset.ready) return;
    brush.source = image.src;
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    found("#brush-ground").style.backgroundImage = `url("${image.src}")`;
    canvas.dataset.ready = "1";
    brush.at = [canvas.width / 2, canvas.height / 2];
    tellMask(true);
  }

  const width = canvas => +found("#brush-size").value * canvas.width / Math.max(1, canvas.clientWidth);

  function stroke(canvas, from, to) {
    const context = canvas.getContext("2d");
    context.globalCompositeOperation = brush.erases ? "destination-out" : "source-over";
    context.strokeStyle = MARK;
    context.lineCap = "round";
    context.lineWidth = width(canvas);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
  }

  function tellMask(isEmpty) {
    const canvas = found("#brush"), area = found("#painted textarea, #painted input");
    if (!area) return;
    let text = "";
    if (!isEmpty) {
      const copy = document.createElement("canvas");
      copy.width = canvas.width;
      copy.height = canvas.height;
      const context = copy.getContext("2d");
      context.drawImage(canvas, 0, 0);
      context.globalCompositeOperation = "source-in";
      context.fillStyle = "#ffffff";
      context.fillRect(0, 0, copy.width, copy.height);
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "#000000";
      context.fillRect(0, 0, copy.width, copy.height);
      text = copy.toDataURL("image/png");
    }
    if (area.value === text) return;
    area.value = text;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const place = (canvas, event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height];
  };

  document.addEventListener("pointerdown", event => {
    if (event.target.id !== "brush") return;
    prepareBrush();
    event.target.setPointerCapture(event.pointerId);
    brush.down = true;
    brush.at = place(event.target, event);
    stroke(event.target, brush.at, brush.at);
  });
  document.addEventListener("pointermove", event => {
    if (event.target.id !== "brush" || !brush.down) return;
    const to = place(event.target, event);
    stroke(event.target, brush.at, to);
    brush.at = to;
  });
  document.addEventListener("pointerup", () => {
    if (brush.down) tellMask(false);
    brush.down = false;
  });
  document.addEventListener("click", event => {
    if (event.target.id === "brush-clear") clearMask();
    if (event.target.id === "brush-erase") {
      brush.erases = !brush.erases;
      event.target.setAttribute("aria-pressed", String(brush.erases));
    }
  });

  function clearMask() {
    const canvas = found("#brush");
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    tellMask(true);
  }

  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function paintByKey(event) {
    const canvas = event.target, way = WAYS[event.key];
    prepareBrush();
    if (way) {
      const step = width(canvas) / 2;
      const to = [brush.at[0] + way[0] * step, brush.at[1] + way[1] * step].map((each, axis) =>
        Math.min(axis ? canvas.height : canvas.width, Math.max(0, each)));
      if (event.shiftKey) stroke(canvas, brush.at, to);
      brush.at = to;
      if (event.shiftKey) tellMask(false);
    } else if (event.key === " ") {
      stroke(canvas, brush.at, brush.at);
      tellMask(false);
    } else if (event.key === "Delete" || event.key === "Backspace") clearMask();
    else return;
    event.preventDefault();
  }

  // The lens: both pictures of the slider, pixel for pixel, around one point
  const lens = { at: [0.5, 0.5], drag: null };

  function showLens() {
    const box = found("#lens");
    const images = [...document.querySelectorAll("#slider img")].filter(image => image.naturalWidth);
    if (!box) return;
    box.hidden = images.length < 2;
    if (box.hidden) return;
    const ordered = images.slice(-2);
    box.querySelectorAll(".pane").forEach((pane, number) => {
      const image = ordered[number];
      const [w, h] = [image.naturalWidth, image.naturalHeight].map(side => side / devicePixelRatio);
      const left = pane.clientWidth / 2 - lens.at[0] * w, top = pane.clientHeight / 2 - lens.at[1] * h;
      pane.style.backgroundImage = `url("${image.src}")`;
      pane.style.backgroundSize = `${w}px ${h}px`;
      pane.style.backgroundPosition = `${left}px ${top}px`;
    });
  }

  function moveLens(x, y) {
    const image = found("#slider img");
    if (!image) return;
    const sides = [image.naturalWidth, image.naturalHeight].map(side => side / devicePixelRatio);
    lens.at = [x, y].map((each, axis) => Math.min(1, Math.max(0, lens.at[axis] + each / sides[axis])));
    showLens();
  }

  document.addEventListener("pointerdown", event => {
    if (event.target.classList?.contains("pane")) lens.drag = [event.clientX, event.clientY];
  });
  document.addEventListener("pointermove", event => {
    if (!lens.drag) return;
    moveLens(lens.drag[0] - event.clientX, lens.drag[1] - event.clientY);
    lens.drag = [event.clientX, event.clientY];
  });
  document.addEventListener("pointerup", () => { lens.drag = null; });
  document.addEventListener("keydown", event => {
    if (event.target.id === "brush") paintByKey(event);
    if (event.target.id === "lens" && WAYS[event.key]) {
      const step = event.shiftKey ? 100 : 20;
      moveLens(WAYS[event.key][0] * step, WAYS[event.key][1] * step);
      event.preventDefault();
    }
  });

  // Both follow pictures that come and go
  document.addEventListener("load", event => {
    if (event.target.closest?.("#shown")) prepareBrush();
    if (event.target.closest?.("#slider")) showLens();
  }, true);
  new MutationObserver(() => {
    if (found("#brush") && !found("#brush").dataset.ready) prepareBrush();
    if (found("#lens")?.hidden && found("#slider img")) showLens();
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
