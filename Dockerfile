# syntax=docker/dockerfile:1
# A small non-root image: patchwright, git, certificates and an init process. Add your agent on top, see docs/container.md.

FROM rust:1-trixie AS build
WORKDIR /src
# The dependencies are built in a layer of their own, which changes only with the lock file.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && mkdir -p tests/it && echo 'fn main() {}' > tests/it/main.rs \
    && cargo build --release --locked && rm -r src tests
COPY . .
RUN touch src/main.rs src/lib.rs && cargo build --release --locked \
    && strip --strip-unneeded target/release/patchwright

# Debian 13: the git of Debian 12 is older than the 2.40 that is needed.
FROM debian:trixie-slim
# Agents run as the same user as the service, and processes of one user may read each other's environment. A program that
# its user may start but not read is exempt from that (core(5)). So tini, which has our secrets in its environment, and git,
# which gets the forge's token that way, lose their read permission; dpkg keeps it so through updates.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* \
    && for file in /usr/bin/tini /usr/bin/git /usr/lib/git-core/git /usr/lib/git-core/git-remote-http; do \
           test -x "$file" && dpkg-statoverride --update --add root root 0711 "$file" || exit 1; \
       done \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/patchwright patchwright
COPY --from=build /src/target/release/patchwright /usr/local/bin/patchwright
USER patchwright
WORKDIR /var/lib/patchwright
ENV PATCHWRIGHT_DATA_DIR=/var/lib/patchwright/data \
    PATCHWRIGHT_SERVER__LISTEN=0.0.0.0:8080
RUN mkdir --mode=700 /var/lib/patchwright/data
VOLUME /var/lib/patchwright/data
EXPOSE 8080
# The init process reaps orphans and passes SIGTERM on to Patchwright alone, which ends what it has started itself.
ENTRYPOINT ["tini", "--", "patchwright"]
CMD ["serve"]
