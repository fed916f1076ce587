//! Where each setting comes from.
//!
//! Invariant: every layer and every conventional variable is shown to win or to stand back.

use super::*;

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let file = File::new("[worker]\ncount = 3\nmax_runs = 3\nper_repository = 3\n");
    let env = [("PATCHWRIGHT_WORKER__COUNT", "4"), ("PATCHWRIGHT_WORKER__MAX_RUNS", "4")];
    let worker = file.load_with(&env, &[("worker.count", "5")]).expect("sound").config.worker;
    assert_eq!((worker.count, worker.max_runs, worker.per_repository), (5, 4, 3));
    assert_eq!(worker.lease, Config::default().worker.lease);
}

#[test]
fn the_conventional_variables_work_without_a_file() {
    let config = load_env(&[
        ("SENTRY_AUTH_TOKEN", "x"),
        ("SENTRY_WEBHOOK_SECRET", "x"),
        ("GITHUB_TOKEN", "x"),
        ("SENTRY_ORG", "acme"),
        ("SENTRY_URL", "https://sentry.example.com"),
        ("DATABASE_URL", "sqlite:/var/lib/x.db"),
    ]);
    let env = |name: &str| SecretRef::Env(name.to_owned());
    assert_eq!(config.sentry.token, Some(env("SENTRY_AUTH_TOKEN")));
    assert_eq!(config.sentry.webhook_secrets, [env("SENTRY_WEBHOOK_SECRET")]);
    assert_eq!(config.forge.token, Some(env("GITHUB_TOKEN")));
    assert_eq!(config.sentry.org.as_deref(), Some("acme"));
    assert_eq!(config.sentry.url, "https://sentry.example.com");
    assert_eq!(config.database_path().expect("sound"), Path::new("/var/lib/x.db"));
}

#[test]
fn an_agent_that_calls_patchwright_is_not_told_that_its_own_variables_are_settings() {
    let told = ["PATCHWRIGHT_RUN", "PATCHWRIGHT_CONTEXT_DIR", "PATCHWRIGHT_RESULT_FILE"];
    assert_eq!(load_env(&told.map(|name| (name, "/somewhere"))), Config::default());
}

#[test]
fn nothing_is_set_by_an_environment_without_settings() {
    let set: Environment = [
        ("SENTRY_AUTH_TOKEN", "x"),
        ("SENTRY_WEBHOOK_SECRET", "x"),
        ("GITHUB_TOKEN", "x"),
        ("SENTRY_ORG", "acme"),
        ("SENTRY_URL", "https://sentry.example.com"),
        ("DATABASE_URL", "sqlite:/var/lib/x.db"),
        ("PATCHWRIGHT_WORKER__COUNT", "7"),
        ("PATCHWRIGHT_CONFIG", "/nowhere.toml"),
        ("ANTHROPIC_API_KEY", "k"),
    ]
    .into_iter()
    .collect();
    let left = set.without_settings();
    assert_eq!(left.iter().collect::<Vec<_>>(), [("ANTHROPIC_API_KEY", "k")]);
    assert_eq!(load(Some(&File::new("").path), &left, &[]).expect("sound").config, Config::default());
}

#[test]
fn the_conventional_secrets_stand_back_for_configured_ones() {
    let file = File::new("[sentry]\ntoken = \"env:A\"\nwebhook_secrets = [\"env:B\"]\n[forge]\ntoken = \"env:C\"\n");
    let set = [("SENTRY_AUTH_TOKEN", "x"), ("SENTRY_WEBHOOK_SECRET", "x"), ("GITHUB_TOKEN", "x")];
    let config = file.load_with(&set, &[]).expect("sound").config;
    let shown = |reference: &SecretRef| reference.to_string();
    assert_eq!(config.sentry.token.as_ref().map(shown).as_deref(), Some("env:A"));
    assert_eq!(config.sentry.webhook_secrets.iter().map(shown).collect::<Vec<_>>(), ["env:B"]);
    assert_eq!(config.forge.token.as_ref().map(shown).as_deref(), Some("env:C"));
}

#[test]
fn the_directory_forge_does_not_take_a_github_token() {
    let config =
        File::new("forge.kind = \"directory\"").load_with(&[("GITHUB_TOKEN", "x")], &[]).expect("sound").config;
    assert_eq!(config.forge.token, None);
}

#[test]
fn our_own_variable_goes_before_the_conventional_one() {
    let config = load_env(&[("DATABASE_URL", "postgres://app"), ("PATCHWRIGHT_STORE__URL", "sqlite:x.db")]);
    assert_eq!(config.database_path().expect("sound"), Path::new("x.db"));
}

#[test]
fn variables_set_scalars_lists_and_tables() {
    let config = load_env(&[
        ("PATCHWRIGHT_DATA_DIR", "/srv/patchwright"),
        ("PATCHWRIGHT_SERVER__LISTEN", "0.0.0.0:9000"),
        ("PATCHWRIGHT_GIT__SIGN_OFF", "true"),
        ("PATCHWRIGHT_LIMITS__TESTS__WALL", "1h"),
        ("PATCHWRIGHT_PUBLISH__LABELS", "bug, from sentry"),
        ("PATCHWRIGHT_PUBLISH__REVIEWERS", "[\"ada\", \"a,b\"]"),
        ("PATCHWRIGHT_AGENTS", "{ mine = { command = [\"x\"] } }"),
        ("PATCHWRIGHT_PROJECT", "[{ sentry = \"web\", repository = \"acme/web\" }]"),
    ]);
    assert_eq!(config.data_dir.path(), Path::new("/srv/patchwright"));
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    assert!(config.git.sign_off);
    assert_eq!(config.limits.tests.wall.to_string(), "1h");
    assert_eq!(config.publish.labels, ["bug", "from sentry"]);
    assert_eq!(config.publish.reviewers, ["ada", "a,b"]);
    assert_eq!(config.agents["mine"].command, ["x"]);
    assert_eq!(config.projects[0].repository, "acme/web");
}

#[test]
fn one_limit_of_tests_leaves_the_others_at_those_of_tests() {
    let limits = File::new("[limits.tests]\nsilence = \"1m\"\n").load().expect("sound").config.limits;
    assert_eq!(limits.tests.wall, Config::default().limits.tests.wall);
    assert_ne!(limits.tests.wall, limits.agent.wall);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    assert_eq!(load_env(&[("PATCHWRIGHT_WORKER__COUNT", ""), ("SENTRY_ORG", "")]), Config::default());
}

#[test]
fn a_variable_names_the_file() {
    let file = File::new("worker.count = 9");
    let env: Environment = [("PATCHWRIGHT_CONFIG", file.path.to_str().expect("UTF-8"))].into_iter().collect();
    let loaded = load(None, &env, &[]).expect("sound");
    assert_eq!((loaded.config.worker.count, loaded.file), (9, Some(file.path.clone())));
}

#[test]
fn paths_in_the_file_start_at_the_file_and_others_at_the_current_folder() {
    let text = "data_dir = \"d\"\nstore.url = \"sqlite:s.db\"\nprompt.dir = \"p\"\n\
                [forge]\npath = \"f\"\ntoken = \"file:/abs\"\n[sentry]\ntoken = \"file:t\"\nwebhook_secrets = [\"file:w\", \"env:E\"]\n";
    let file = File::new(text);
    let folder = file.path.parent().expect("a folder");
    let config = file.load().expect("sound").config;
    assert_eq!(config.data_dir.path(), Path::new("d"));
    assert_eq!(config.database_path().expect("sound"), Path::new("s.db"));
    assert_eq!(config.prompt.dir, Some(folder.join("p")));
    assert_eq!(config.forge.path, Some(folder.join("f")));
    assert_eq!(config.forge.token, Some(SecretRef::File("/abs".into())));
    assert_eq!(config.sentry.token, Some(SecretRef::File(folder.join("t"))));
    assert_eq!(config.sentry.webhook_secrets, [SecretRef::File(folder.join("w")), SecretRef::Env("E".into())]);

    let env = [("PATCHWRIGHT_PROMPT__DIR", "q"), ("PATCHWRIGHT_SENTRY__TOKEN", "file:u")];
    let config = file.load_with(&env, &[]).expect("sound").config;
    assert_eq!(config.prompt.dir, Some(PathBuf::from("q")));
    assert_eq!(config.sentry.token, Some(SecretRef::File("u".into())));
}

#[test]
fn whole_numbers_are_read_in_every_form_of_toml() {
    for text in ["1_000", "+1000", "0x3e8", "0b1111101000"] {
        let loaded = File::new(&format!("worker.count = {text}")).load().expect(text);
        assert_eq!(loaded.config.worker.count, 1000, "{text}");
    }
}

#[test]
fn line_ends_and_byte_order_marks_of_windows_are_read() {
    let loaded = File::new("\u{feff}[worker]\r\ncount = 3\r\n").load().expect("sound");
    assert_eq!(loaded.config.worker.count, 3);
}
