# The server and its page in a container that fetches nothing and may do little:
#   docker build -t residiff .
#   docker run --rm -p 127.0.0.1:8000:8000 residiff
# On the CPU; for CUDA take torch from an index of CUDA builds: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
FROM python:3.13-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/residiff
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src ./src
# torch first: from PyPI pip would fetch gigabytes of CUDA. Of one version pip prefers the build with a local label, +cpu say
RUN python -m pip install -c constraints.txt --index-url $TORCH_INDEX --extra-index-url https://pypi.org/simple torch
RUN python -m pip install -c constraints.txt ".[web,hub,onnx,openvino]"
RUN useradd --create-home --uid 10001 residiff && mkdir /data && chown residiff /data

USER residiff
ENV HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["residiff"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
