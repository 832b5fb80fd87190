# One image for all services; docker-compose.yml says which module a container runs.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# The tools that build the wheel stay in this stage; the dependencies go to the environment that is copied.
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements-dev.lock \
    && python -m venv /opt/goodstrace && /opt/goodstrace/bin/pip install --require-hashes -r requirements.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/goodstrace/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin goodstrace \
    && install -d -o goodstrace -g goodstrace -m 700 /keys
COPY --from=build /opt/goodstrace /opt/goodstrace
ENV PATH=/opt/goodstrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GOODSTRACE_HOST=0.0.0.0 \
    GOODSTRACE_METRICS_PORT=9100 \
    GOODSTRACE_KEY_DIR=/keys \
    GOODSTRACE_INDEX_SECRET_FILE=/keys/index-secret
USER goodstrace
WORKDIR /
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['GOODSTRACE_METRICS_PORT'] + '/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m"]
