"use strict";
(() => {
  const ZOOMS = [1, 2, 4, 8];
  const TOPS = [8, 16, 32, 64, 128, 255];
  const GREATEST_ERROR = 32;

  const make = (tag, settings = {}, ...children) => {
    const { dataset, ...others } = settings;
    const element = Object.assign(document.createElement(tag), others);
    Object.assign(element.dataset, dataset);
    element.append(...children);
    return element;
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const option = (value, text) => make("option", { value, textContent: text });

  /* Tables that are sorted by their heads */

  const byValue = (first, second) => {
    const numbers = [Number(first), Number(second)];
    if (first !== "" && second !== "" && !numbers.some(Number.isNaN)) return numbers[0] === numbers[1] ? 0 : numbers[0] - numbers[1];
    return first.localeCompare(second, undefined, { numeric: true });
  };

  const sortTable = (table, column, direction) => {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row, place) => ({ row, place, value: row.cells[column].dataset.value ?? "" }));
    const absent = (value) => (value === "–" ? 1 : 0);
    rows.sort((a, b) => absent(a.value) - absent(b.value) || sign * byValue(a.value, b.value) || a.place - b.place);
    body.append(...rows.map(({ row }) => row));
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", title: "Sort by this" }, ...head.childNodes);
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const other = { ascending: "descending", descending: "ascending" };
        const wanted = other[now] ?? head.dataset.first;
        heads.forEach((each) => each.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", wanted);
        sortTable(table, column, wanted);
      });
    });
  };

  /* Errors */

  const pixelsOf = async (image) => {
    await image.decode();
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };

  /* Of each pixel the largest difference of its channels, in grey levels */
  const errorOf = (first, second) => {
    const error = new Uint8Array(first.width * first.height);
    let largest = 0;
    let sum = 0;
    for (let place = 0; place < error.length; place += 1) {
      let most = 0;
      for (let channel = 4 * place; channel < 4 * place + 3; channel += 1) {
        most = Math.max(most, Math.abs(first.data[channel] - second.data[channel]));
      }
      error[place] = most;
      largest = Math.max(largest, most);
      sum += most;
    }
    return { error, largest, mean: sum / error.length };
  };

  const paint = (canvas, error, top, colours) => {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const drawn = context.createImageData(canvas.width, canvas.height);
    error.forEach((level, place) => {
      const entry = 3 * Math.min(255, Math.round((255 * level) / top));
      for (let channel = 0; channel < 3; channel += 1) drawn.data[4 * place + channel] = colours[entry + channel];
      drawn.data[4 * place + 3] = 255;
    });
    context.putImageData(drawn, 0, 0);
  };

  /* One picture, by all methods */

  class Viewer {
    constructor(element, colours) {
      this.element = element;
      this.colours = colours;
      this.stage = element.querySelector(".stage");
      this.shots = [...element.querySelectorAll(".shot")].map((figure) => ({
        figure,
        image: figure.querySelector("img"),
        label: figure.querySelector("b").textContent,
        isTruth: figure.dataset.kind === "truth",
      }));
      this.name = element.closest(".case").dataset.name;
      this.zoom = 1;
      this.centre = [0.5, 0.5];
      this.top = GREATEST_ERROR;
      this.addControls();
      this.addGestures();
      this.choose(this.shots.findIndex(({ figure }) => figure.dataset.kind === "method"), this.shots.length - 1);
      this.setSplit(50);
      this.setZoom(1);
    }

    addControls() {
      const side = (name) => {
        const select = make("select", {}, ...this.shots.map(({ label }, place) => option(place, label)));
        select.addEventListener("change", () => this.choose(Number(this.left.value), Number(this.right.value)));
        return [select, make("label", { className: "sides" }, name, select)];
      };
      const [left, leftLabel] = side("Left");
      const [right, rightLabel] = side("Right");
      Object.assign(this, { left, right });
      this.zooms = ZOOMS.map((zoom) => {
        const button = make("button", { type: "button", textContent: `${zoom}×` });
        button.addEventListener("click", () => this.setZoom(zoom));
        return button;
      });
      const zooming = make("span", { className: "group" }, ...this.zooms);
      zooming.setAttribute("role", "group");
      zooming.setAttribute("aria-label", `Zoom of ${this.name}`);
      this.errors = make("input", { type: "checkbox" });
      this.errors.addEventListener("change", () => this.showErrors(this.errors.checked));
      const shown = make("label", {}, this.errors, "Error map");
      this.element.prepend(make("div", { className: "controls" }, leftLabel, rightLabel, zooming, shown));
      this.range = make("input", { type: "range", className: "split", min: 0, max: 100, step: 0.5, value: 50 });
      this.range.addEventListener("input", () => this.setSplit(Number(this.range.value)));
      this.stage.append(make("div", { className: "divider" }));
      this.stage.after(this.range, this.makeLegend());
    }

    makeLegend() {
      const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((place) => `rgb(${this.colours.slice(3 * place, 3 * place + 3).join(" ")})`);
      const strip = make("i");
      strip.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      this.ticks = [make("span"), make("span"), make("span")];
      const tops = make("select", {}, ...TOPS.map((top) => option(top, `to ${top}`)));
      tops.value = this.top;
      tops.addEventListener("change", () => {
        this.top = Number(tops.value);
        this.paintErrors();
      });
      const words = make("span", { textContent: `grey levels from the truth, the largest of a pixel’s channels${"reduced" in this.element.dataset ? ", of the reduced picture" : ""}` });
      const bar = make("span", { className: "bar" }, strip, make("span", {}, ...this.ticks));
      const scale = make("label", { className: "controls" }, "Scale", tops);
      return make("div", { className: "legend" }, bar, words, scale);
    }

    choose(left, right) {
      this.left.value = left;
      this.right.value = right;
      this.shots.forEach(({ figure }, place) => {
        figure.classList.toggle("left", place === left);
        figure.classList.toggle("right", place === right);
      });
      this.range.setAttribute("aria-label", `How much of ${this.shots[left].label} is shown before ${this.shots[right].label}: ${this.name}`);
      this.stage.setAttribute("aria-label", `${this.name}: ${this.shots[left].label} left, ${this.shots[right].label} right. Arrow keys move the view when it is enlarged, plus and minus enlarge it.`);
    }

    setSplit(percent) {
      this.split = clamp(percent, 0, 100);
      this.range.value = this.split;
      this.range.setAttribute("aria-valuetext", `${Math.round(this.split)} %`);
      this.element.style.setProperty("--split", `${this.split}%`);
    }

    setZoom(zoom) {
      this.zoom = zoom;
      this.zooms.forEach((button, place) => button.setAttribute("aria-pressed", String(ZOOMS[place] === zoom)));
      this.element.classList.toggle("zoomed", zoom > 1);
      this.look(...this.centre);
      this.measure();
    }

    /* Pixels are shown as squares where they are clearly larger than those of the screen */
    measure() {
      const width = this.shots[0].figure.clientWidth * this.zoom;
      this.element.classList.toggle("enlarged", width >= 1.5 * Number(this.shots[0].image.getAttribute("width")));
    }

    /* Moves the view's centre, in parts of the picture, as far as there is picture */
    look(x, y) {
      const half = 0.5 / this.zoom;
      this.centre = [clamp(x, half, 1 - half), clamp(y, half, 1 - half)];
      ["--x", "--y"].forEach((name, axis) => {
        this.element.style.setProperty(name, `${-100 * (this.zoom * this.centre[axis] - 0.5)}%`);
      });
      this.element.style.setProperty("--zoom", this.zoom);
    }

    addGestures() {
      let drag = null;
      this.stage.tabIndex = 0;
      this.stage.setAttribute("role", "group");
      this.stage.addEventListener("pointerdown", (event) => {
        const frame = event.target.closest(".frame, .divider");
        if (event.button !== 0 || frame === null) return;
        const sliding = this.element.classList.contains("sliding");
        const splits = sliding && (this.zoom === 1 || event.target.classList.contains("divider"));
        if (!splits && this.zoom === 1) return;
        drag = { splits, from: [event.clientX, event.clientY], centre: this.centre, box: frame.closest(".shot, .stage").getBoundingClientRect() };
        this.stage.setPointerCapture(event.pointerId);
        // A finger may be about to scroll
        if (splits && event.pointerType === "mouse") this.splitAt(event.clientX);
      });
      this.stage.addEventListener("pointermove", (event) => {
        if (drag === null) return;
        if (drag.splits) {
          this.splitAt(event.clientX);
          return;
        }
        const { from, centre, box } = drag;
        this.look(centre[0] - (event.clientX - from[0]) / box.width / this.zoom, centre[1] - (event.clientY - from[1]) / box.height / this.zoom);
      });
      ["pointerup", "pointercancel"].forEach((name) => this.stage.addEventListener(name, () => { drag = null; }));
      this.stage.addEventListener("keydown", (event) => this.onKey(event));
    }

    splitAt(x) {
      const box = this.stage.getBoundingClientRect();
      this.setSplit((100 * (x - box.left)) / box.width);
    }

    onKey(event) {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const zooms = { "+": 1, "=": 1, "-": -1 };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in zooms) {
        this.setZoom(ZOOMS[clamp(ZOOMS.indexOf(this.zoom) + zooms[event.key], 0, ZOOMS.length - 1)]);
      } else if (event.key in moves && this.zoom > 1) {
        const [x, y] = moves[event.key];
        this.look(this.centre[0] + (0.1 * x) / this.zoom, this.centre[1] + (0.1 * y) / this.zoom);
      } else {
        return;
      }
      event.preventDefault();
    }

    async showErrors(wanted) {
      if (wanted) await this.findErrors();
      this.element.classList.toggle("errors", wanted && this.errors.checked);
    }

    async findErrors() {
      if (this.shots.some(({ found }) => found)) return;
      const truth = await pixelsOf(this.shots.find(({ isTruth }) => isTruth).image);
      for (const shot of this.shots.filter(({ isTruth }) => !isTruth)) {
        shot.found = errorOf(await pixelsOf(shot.image), truth);
        shot.canvas = make("canvas", { width: truth.width, height: truth.height, className: "error" });
        shot.canvas.setAttribute("role", "img");
        shot.canvas.setAttribute("aria-label", `Errors of ${shot.label}: largest ${shot.found.largest}, mean ${shot.found.mean.toFixed(2)} grey levels`);
        shot.image.after(shot.canvas);
        const told = `error: mean ${shot.found.mean.toFixed(2)}, largest ${shot.found.largest}`;
        shot.figure.querySelector("figcaption").append(make("small", { className: "told", textContent: ` ${told}` }));
      }
      this.paintErrors();
    }

    paintErrors() {
      this.ticks.forEach((tick, place) => { tick.textContent = ["0", `${this.top / 2}`, this.top < 255 ? `${this.top} or more` : "255"][place]; });
      this.shots.forEach(({ canvas, found }) => { if (found) paint(canvas, found.error, this.top, this.colours); });
    }
  }

  /* All pictures */

  const orders = ({ labels, baseline, higher }) => {
    const known = (score) => (score === null ? Infinity : score);
    const goodness = (scores, place) => (higher ? 1 : -1) * known(scores[place]);
    const gap = (scores, first, second) => {
      const [a, b] = [goodness(scores, first), goodness(scores, second)];
      return a === b ? 0 : a - b;
    };
    const spread = (scores) => {
      const [low, high] = [Math.min(...scores.map(known)), Math.max(...scores.map(known))];
      return low === high ? 0 : high - low;
    };
    const found = [["Worst by any method", (scores) => Math.min(...scores.map((_, place) => goodness(scores, place)))]];
    labels.forEach((label, place) => found.push([`Worst by ${label}`, (scores) => goodness(scores, place)]));
    found.push(["Methods furthest apart", (scores) => -spread(scores)]);
    labels.forEach((label, place) => {
      if (place === baseline) return;
      found.push([`${label} furthest ahead of ${labels[baseline]}`, (scores) => -gap(scores, place, baseline)]);
      found.push([`${label} furthest behind ${labels[baseline]}`, (scores) => gap(scores, place, baseline)]);
    });
    return found;
  };

  const addOrder = (section, about) => {
    const cases = [...section.querySelectorAll(".case")];
    const found = orders(about);
    const select = make("select", { id: "order" }, ...found.map(([words], place) => option(place, words)), option(found.length, "Name"));
    select.addEventListener("change", () => {
      const key = found[Number(select.value)]?.[1];
      const byName = (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true });
      const rank = (each) => key(JSON.parse(each.dataset.scores));
      const compared = (a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b));
      cases.sort((a, b) => (key ? compared(a, b) : 0) || byName(a, b));
      section.append(...cases);
    });
    return make("label", {}, "Order", select);
  };

  const addView = (viewers) => {
    const show = (sliding) => viewers.forEach((viewer) => {
      viewer.element.classList.toggle("sliding", sliding);
      viewer.measure();
    });
    const radio = (words, sliding) => {
      const input = make("input", { type: "radio", name: "view", checked: sliding });
      input.addEventListener("change", () => show(sliding));
      return make("label", {}, input, words);
    };
    show(true);
    return [radio("Slider", true), radio("Side by side", false)];
  };

  document.addEventListener("DOMContentLoaded", () => {
    const about = JSON.parse(document.getElementById("about").textContent);
    document.querySelectorAll("table.sortable").forEach(makeSortable);
    const section = document.getElementById("cases");
    const first = section.querySelector(".case");
    if (first === null) return;
    const colours = Uint8Array.from(about.colours.match(/../g), (pair) => parseInt(pair, 16));
    const viewers = [...section.querySelectorAll(".viewer")].map((element) => new Viewer(element, colours));
    first.before(make("div", { className: "controls" }, addOrder(section, about), ...addView(viewers)));
    addEventListener("resize", () => viewers.forEach((viewer) => viewer.measure()));
  });
})();
