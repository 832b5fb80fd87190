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
    && install -d -o goodstrace -g goodstrace -m 700 /keys /secret /operator /login /jwks /watch /vault /certificates /policy /witnesses /backups
COPY --from=build /opt/goodstrace /opt/goodstrace
COPY --chmod=755 deploy/goodstrace-ready /usr/local/bin/
# Names of files, not what is in them.
# hadolint ignore=DL3064
ENV PATH=/opt/goodstrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GOODSTRACE_HOST=0.0.0.0 \
    GOODSTRACE_KEY_DIR=/keys \
    GOODSTRACE_INDEX_SECRET_FILE=/secret/index-secret \
    GOODSTRACE_VAULT_KEY_FILE=/vault/keys \
    GOODSTRACE_OPERATOR_TOKEN_FILE=/operator/operator-token \
    GOODSTRACE_LOGIN_KEY_DIR=/login/keys \
    GOODSTRACE_LOGIN_SECRET_FILE=/login/secret \
    GOODSTRACE_ACCOUNTS_JWKS=/jwks/jwks.json
# goodstrace, by its number: Kubernetes cannot tell of a name that it is not root.
USER 10001
WORKDIR /
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 CMD ["goodstrace-ready"]
ENTRYPOINT ["python", "-m"]
