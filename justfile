# Short names for the commands in CONTRIBUTING.md.

# Arguments reach the commands as they were typed: `just test -E 'test(redact)'`.
set positional-arguments

# Everything a change must pass.
ci:
    .ci/run

# All tests, or those that match.
test *ARGS:
    ./test "$@"

# The main job on a sample repository.
demo *ARGS:
    cargo run --release -- demo "$@"
