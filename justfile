# Short names for the commands in CONTRIBUTING.md.

# Everything a change must pass.
ci:
    .ci/run

# All tests, or those that match.
test *ARGS:
    ./test {{ARGS}}

# The main job on a sample repository.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}
