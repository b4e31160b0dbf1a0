# One image for gateway, worker and sandbox; the command chooses.
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 gateway && install -d -o gateway /data
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY geo geo
COPY triggers triggers
COPY senders senders
COPY fixtures fixtures
RUN pip install --no-cache-dir --require-hashes --only-binary :all: --no-binary http-ece -r requirements.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation . \
 && cd / && python -m gateway.console_setup

USER gateway
ENV GATEWAY_DATA_DIR=/data GATEWAY_HOST=0.0.0.0 PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
