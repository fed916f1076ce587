//! What an operator is told of a mistake in file, variable or flag.
//!
//! Invariant: every message has its place and a remedy, and none repeats a value that was pasted by mistake.

use super::*;

/// File text, and the one message (after the file's name) that it gives.
const FILES: &[(&str, &str)] = &[
    ("\n\nworkr.count = 2\n", "3:1: unknown key `workr`; did you mean `worker`?"),
    ("[worker]\nlease = \"9s\"\n cout = 2\n", "3:2: unknown key `worker.cout`; did you mean `worker.count`?"),
    ("[server]\ndata_dir = \"x\"\n", "2:1: unknown key `server.data_dir`; `data_dir` belongs above the first section"),
    ("[github]\ntoken = \"env:T\"\n", "1:2: unknown key `github`; did you mean `forge`?"),
    (
        "[worker]\nmax_runs = 4294967296\n",
        "2:12: `worker.max_runs` is negative or too large; write a whole number from 0",
    ),
    ("data_dir = \" \"\n", "1:12: `data_dir`: the path of the folder is empty; write one"),
    ("listen = \"[::]:1\"\n", "1:1: unknown key `listen`; did you mean `server.listen`?"),
    (
        "[publish]\ncolour = 1\n",
        "2:1: unknown key `publish.colour`; known here are `labels`, `reviewers`, `without_drafts`",
    ),
    ("[worker]\ncount = \"2\"\n", "2:9: `worker.count` cannot be of the type string; write a whole number"),
    (
        "[limits.agent]\nwall = 30\n",
        "2:8: `limits.agent.wall` cannot be of the type integer; write a time with its unit, such as \"30s\" or \"10m\"",
    ),
    (
        "[git]\nmax_file = 5\n",
        "2:12: `git.max_file` cannot be of the type integer; write a size with its unit, such as \"64KiB\" or \"20MiB\"",
    ),
    ("[worker]\ncount = -2\n", "2:9: `worker.count` is negative or too large; write a whole number from 0"),
    ("[git]\nsign_off = 1\n", "2:12: `git.sign_off` cannot be of the type integer; write `true` or `false`"),
    (
        "[sentry]\nwebhook_secrets = \"ghp_pasted0secret0that0must0not0be0repeated\"\n",
        "2:19: `sentry.webhook_secrets` cannot be of the type string; write an array of strings, such as [\"one\", \"two\"]",
    ),
    (
        "[sentry]\n\ntoken = \"ghp_pasted0secret0that0must0not0be0repeated\"\n",
        "3:9: `sentry.token`: a secret is given by reference, `env:NAME` or `file:PATH`, never in the clear",
    ),
    (
        "[worker]\nlease = \"30\"\n",
        "2:9: `worker.lease` is not a time; write a whole number and a unit, such as \"30s\", \"10m\" or \"2h\"",
    ),
    (
        "server.listen = \"localhost\"\n",
        "1:17: `server.listen` is not an address; write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"",
    ),
    ("forge.kind = \"githb\"\n", "1:14: `forge.kind` has an unknown value; did you mean `github`?"),
    ("[project]\nsentry = \"a\"\n", "1:1: `project` cannot be of the type table; write `[[project]]` for each one"),
    ("# ü\n[[project]]\nsentry = \"web\"\n", "2:1: `project[0].repository` is missing; add `repository = …` here"),
    ("data_dir = \"a\"\ndata_dir = \"b\"\n", "2:1: duplicate key; keep one of the two"),
    ("data_dir = data\n", "1:12: string values must be quoted, expected literal string; write it in quotes"),
];

#[test]
fn every_mistake_in_a_file_has_its_line_and_a_remedy() {
    for (text, message) in FILES {
        let file = File::new(text);
        let error = file.load().expect_err(text).to_string();
        assert_eq!(error, format!("{}:{message}", file.path.display()), "{text}");
    }
}

#[test]
fn several_mistakes_are_reported_together_in_the_order_of_the_file() {
    let file = File::new("[worker]\ncout = 1\n[git]\nsign_off = 1\n[server]\nlisten = 1\n");
    let error = file.load_with(&[("PATCHWRIGHT_X__Y", "1")], &[]).expect_err("four mistakes");
    let keys: Vec<_> = error.problems().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["worker.cout", "git.sign_off", "server.listen", "x.y"]);
}

#[test]
fn a_mistake_in_a_variable_or_flag_names_it() {
    for (name, value, message) in [
        ("PATCHWRIGHT_WORKR__COUNT", "2", "did you mean `PATCHWRIGHT_WORKER__COUNT`?"),
        ("PATCHWRIGHT_WORKER_COUNT", "2", "did you mean `PATCHWRIGHT_WORKER__COUNT`?"),
        ("PATCHWRIGHT_PATCHWRIGHT_DATA_DIR", "x", "unknown key `patchwright_data_dir`"),
        ("PATCHWRIGHT_WORKER__COUNT", "two", "PATCHWRIGHT_WORKER__COUNT: `worker.count` is not a whole number"),
        ("PATCHWRIGHT_GIT__SIGN_OFF", "yes", "write `true` or `false`"),
        ("PATCHWRIGHT_SERVER__LISTEN", "8080", "`server.listen` is not an address"),
        ("PATCHWRIGHT_WORKER__LEASE", "30", "write a whole number and a unit"),
        ("PATCHWRIGHT_FORGE__KIND", "githb", "did you mean `github`?"),
        ("PATCHWRIGHT_PROJECT", "web", "`project` is not TOML"),
        ("PATCHWRIGHT_PROJECT", "[{ sentry = \"web\" }]", "`project[0].repository` is missing"),
    ] {
        let error = try_env(&[(name, value)]).expect_err(name).to_string();
        assert!(error.contains(message) && error.contains("PATCHWRIGHT_"), "{error}");
    }
    let error = File::new("").load_with(&[], &[("server.listn", "x")]).expect_err("unknown").to_string();
    assert_eq!(error, "flag `server.listn`: unknown key `server.listn`; did you mean `server.listen`?");
}

#[test]
fn a_pasted_secret_is_never_repeated() {
    let keys = [
        "sentry.token",
        "sentry.webhook_secrets",
        "forge.token",
        "worker.count",
        "git.sign_off",
        "forge.kind",
        "project",
    ];
    for key in keys {
        let variable = format!("PATCHWRIGHT_{}", key.to_uppercase().replace('.', "__"));
        let errors = [
            File::new(&format!("{key} = \"{PASTED}\"")).load(),
            File::new(&format!("{key} = [\"{PASTED}\"]")).load(),
            File::new(&format!("{key} = {PASTED}")).load(),
            try_env(&[(variable.as_str(), PASTED)]),
        ];
        for error in errors {
            let error = error.expect_err(key);
            assert!(!format!("{error} {error:?}").contains(PASTED), "{error}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_way_out() {
    let error =
        load(Some(Path::new("/nowhere/p.toml")), &Environment::default(), &[]).expect_err("missing").to_string();
    assert!(error.contains("/nowhere/p.toml") && error.contains("patchwright init"), "{error}");

    let file = File::new("");
    fs::write(&file.path, [0xff, 0xfe]).expect("written");
    assert!(file.load().expect_err("not text").to_string().contains("UTF-8"));
}

#[test]
fn a_variable_that_is_no_text_is_named_and_not_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    for name in ["PATCHWRIGHT_DATA_DIR", "GITHUB_TOKEN", "DATABASE_URL"] {
        let env: Environment = [(name, bytes)].into_iter().collect();
        let error = load(Some(&File::new("").path), &env, &[]).expect_err(name).to_string();
        assert!(error.contains(&format!("the variable {name} is not UTF-8 text")), "{error}");
    }
    let env: Environment = [("LESS", bytes)].into_iter().collect();
    assert!(load(Some(&File::new("").path), &env, &[]).is_ok(), "it is not ours");
}
