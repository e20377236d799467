# The locked environment with the project in it, for a user without an administrator's rights.
#
#   docker build -t osteo .
#   docker run --rm -p 127.0.0.1:8888:8888 osteo
#   docker run --rm -v osteo-results:/home/osteo/results osteo ./run_all.sh quick
#
# The second opens JupyterLab: follow the address with the token that it prints. The third keeps data and reports in a
# volume; a folder of yours in its place must belong to user 1000.
#
# ImageNet weights come from Keras. Their second source needs npm for ResNet50, which Debian installs with 362 other
# packages, so the image is without it. Where Keras cannot be reached, copy a folder data/weights into the volume.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 osteo && install -d -o osteo -g osteo /home/osteo/project /home/osteo/results
USER osteo
WORKDIR /home/osteo/project
ENV OSTEO_ENV=venv OSTEO_LOCK=cpu OSTEO_HOME=/home/osteo/results

COPY --chown=osteo:osteo . .
# A dry run makes the environment and lists the notebooks; it trains nothing.
RUN PIP_NO_CACHE_DIR=1 OSTEO_HOME=/tmp/dry-run ./run_all.sh quick -- --dry-run && rm -r /tmp/dry-run

EXPOSE 8888
# Every address of the container, which `-p 127.0.0.1:8888:8888` leads to from this machine alone.
CMD ["./run_all.sh", "lab", "--ip=0.0.0.0", "--no-browser"]
