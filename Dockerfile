# The gateway, the embedded Edge Manager and the site's commands in one image; `edge-gateway` is its entry point.
#     docker build -t edge-gateway .
# It needs a base with Python 3.11 or newer and its venv; `--build-arg BASE=` names another one.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
RUN python3 -m venv /opt/edge-gateway
WORKDIR /src
# Dependencies have a layer of their own: a change of the project does not install them again.
COPY pyproject.toml constraints.txt ./
RUN mkdir gateway device_sdk && touch README.md LICENSE gateway/__init__.py device_sdk/__init__.py \
    && /opt/edge-gateway/bin/python -m pip install --no-cache-dir -c constraints.txt '.[postgresql]' \
    # botocore knows every service of AWS; these are the ones that gateway, manager or their credentials use.
    && cd /opt/edge-gateway/lib/python3*/site-packages/botocore/data \
    && find . -mindepth 1 -maxdepth 1 -type d \
        ! -name sagemaker ! -name sagemaker-edge ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
        -exec rm -r {} +
COPY README.md LICENSE ./
COPY device_sdk device_sdk
COPY gateway gateway
RUN /opt/edge-gateway/bin/python -m pip install --no-cache-dir --no-deps --force-reinstall . \
    && /opt/edge-gateway/bin/python -m pip uninstall --yes --quiet pip

FROM ${BASE}
# Nobody's account: 1883 is also Mosquitto's in its own image, so that both read the site's files, which are mode 0600.
# A new volume takes its owner from the folder of the image where it is mounted first.
RUN for folder in /etc/edge-gateway /etc/edge-gateway/ca /etc/edge-gateway/broker /etc/edge-gateway/gateway \
        /etc/edge-gateway/operator /etc/edge-gateway/devices \
        /var/lib/edge-gateway /var/lib/edge-manager /var/lib/mosquitto; \
    do install -d -o 1883 -g 1883 -m 700 $folder; done
COPY --from=build /opt/edge-gateway /opt/edge-gateway
ENV PATH=/opt/edge-gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    GATEWAY_STATE_DIR=/var/lib/edge-gateway EDGE_MANAGER_DATA=/var/lib/edge-manager
USER 1883:1883
# 200 while the event loop answers. It does not depend on the connection (/readyz does): a restart would not help there.
# http.client knows no proxy: HTTP_PROXY does not lead to loopback.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9464, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["edge-gateway"]
CMD ["run"]
