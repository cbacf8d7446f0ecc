# An image with `wp` and its HTTP service, which runs as an unprivileged user. docs/docker.md shows how to use it.
#
#   docker build -t wavepaint .
#   docker run -p 127.0.0.1:8080:8080 -e WAVEPAINT_TOKEN wavepaint
#
# EXTRAS chooses the engine, for example --build-arg EXTRAS=openvino,serve,heif.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=cpu,serve
WORKDIR /source
# The environment gets no pip of its own: nothing is installed into it later.
RUN python -m venv --without-pip /opt/wavepaint
COPY constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY wavepaint/ wavepaint/
COPY export/ export/
COPY runtime/ runtime/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/wavepaint/bin/python install --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/wavepaint /opt/wavepaint
# What is written at run time is a photo or in the cache folder, which is also the home, because engines write there. Both
# are for any user, so that `docker run --user` works.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin wavepaint \
    && install --directory --mode 1777 /photos /var/cache/wavepaint
ENV PATH=/opt/wavepaint/bin:$PATH \
    HOME=/var/cache/wavepaint \
    PYTHONUNBUFFERED=1 \
    WAVEPAINT_CACHE=/var/cache/wavepaint
USER 10001
WORKDIR /photos
EXPOSE 8080
# The image has no curl.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["wp"]
CMD ["serve", "--host", "0.0.0.0", "--allow-host", "localhost"]
