//! Relations between settings.
//!
//! Invariant: each relation is broken once, alone, in a file that is otherwise sound.

use super::*;

const PROJECT: &str = "[[project]]\nsentry = \"web\"\nrepository = \"acme/web\"\nagent = \"claude\"\n";

/// What is added to a sound file, the key of the one problem that it makes, and its severity.
const RELATIONS: &[(&str, &str, Severity)] = &[
    ("worker.count = 0", "worker.count", Severity::Error),
    ("worker.count = 257", "worker.count", Severity::Error),
    ("worker.per_repository = 0", "worker.per_repository", Severity::Error),
    ("worker.max_runs = 0", "worker.max_runs", Severity::Error),
    (
        "limits.agent.wall = \"0s\"\nlimits.agent.silence = \"0s\"\nworker.lease = \"1s\"",
        "worker.lease",
        Severity::Error,
    ),
    ("worker.lease = \"2s\"", "worker.lease", Severity::Error),
    ("worker.lease = \"30m\"", "worker.lease", Severity::Warning),
    ("limits.tests.silence = \"16m\"", "limits.tests.silence", Severity::Warning),
    ("limits.tests.disk = \"0B\"", "limits.tests.disk", Severity::Error),
    ("server.max_body = \"0B\"", "server.max_body", Severity::Error),
    ("prompt.budget = \"1KiB\"", "prompt.budget", Severity::Error),
    ("store.url = \"postgres://x\"", "store.url", Severity::Error),
    ("sentry.url = \"sentry.io\"", "sentry.url", Severity::Error),
    ("sentry.org = \"https://acme.sentry.io\"", "sentry.org", Severity::Error),
    ("forge.api_url = \"http://ghe.example.com/api/v3\"", "forge.api_url", Severity::Warning),
    ("forge.kind = \"directory\"", "forge.path", Severity::Error),
    ("forge.path = \"x\"", "forge.path", Severity::Warning),
    ("git.branch_prefix = \"a..b\"", "git.branch_prefix", Severity::Error),
    ("git.trailers = [\"A: b\", \"nonsense\"]", "git.trailers[1]", Severity::Error),
    ("git.author_name = \"a<b\"", "git.author_name", Severity::Error),
    ("[agents.a]\ncommand = []", "agents.a.command", Severity::Error),
    ("[agents.a]\npass_env = []", "agents.a.command", Severity::Error),
    ("[agents.a]\ncommand = [\"x\", \"{prompt_fle}\"]", "agents.a.command", Severity::Error),
    ("[agents.a]\ncommand = [\"awk\", \"{zzz}\"]", "agents.a.command", Severity::Warning),
    ("[agents.a]\ncommand = [\"x\"]\nprompt = \"file\"", "agents.a.command", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\npass_env = [\"K\", \"GITHUB_TOKEN\"]", "agents.a.pass_env[1]", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\npass_env = [\"OWN_TOKEN\"]", "agents.a.pass_env[0]", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\npass_env = [\"K=v\"]", "agents.a.pass_env[0]", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\npass_env = [\"HOME\"]", "agents.a.pass_env[0]", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\nenv.TMPDIR = \"/tmp\"", "agents.a.env.TMPDIR", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\nenv.PATCHWRIGHT_RUN = \"1\"", "agents.a.env.PATCHWRIGHT_RUN", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\nenv.DATABASE_URL = \"x\"", "agents.a.env.DATABASE_URL", Severity::Error),
    ("[agents.a]\ncommand = [\"x\"]\nenv.MODEL_KEY = \"x\"", "agents.a.env.MODEL_KEY", Severity::Error),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"web\"\nrepository = \"acme/api\"",
        "project[1].sentry",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"api\"\nrepository = \"api\"",
        "project[1].repository",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"My API\"\nrepository = \"acme/api\"",
        "project[1].sentry",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\nrelated = [\"a/c\", \"d\"]",
        "project[1].related[1]",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\npath = \"../x\"",
        "project[1].path",
        Severity::Error,
    ),
    ("[[project]]\nsentry = \"a\"\nrepository = \"a/b\"", "project[1].agent", Severity::Warning),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\npass_env = [\"PATCHWRIGHT_X\"]",
        "project[1].pass_env[0]",
        Severity::Error,
    ),
    ("[[project]]\nsentry = \"a\"\nrepository = \"a/b\"\nagent = \"claud\"", "project[1].agent", Severity::Error),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\nlevels = [\"eror\"]",
        "project[1].levels[0]",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\nlevels = []",
        "project[1].levels",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\ntest = \" \"",
        "project[1].test",
        Severity::Error,
    ),
    (
        "[[project]]\nagent = \"claude\"\nsentry = \"a\"\nrepository = \"a/b\"\npass_env = [\"OWN_TOKEN\"]",
        "project[1].pass_env[0]",
        Severity::Error,
    ),
];

/// The text before the first section goes first, since top-level dotted keys cannot follow one.
fn sound_with(addition: &str) -> File {
    let (above, below) = if addition.starts_with('[') { ("", addition) } else { (addition, "") };
    let credentials = "forge.token = \"env:OWN_TOKEN\"\nsentry.webhook_secrets = [\"env:HOOK\"]\n";
    File::new(&format!("{credentials}{above}\n{PROJECT}{below}\n"))
}

fn problems(file: &File) -> Vec<Problem> {
    file.load().expect("every value is sound by itself").check(&["claude"])
}

#[test]
fn a_sound_configuration_has_no_problem() {
    assert_eq!(problems(&sound_with("")), []);
}

#[test]
fn each_wrong_relation_is_reported_at_its_key_and_place() {
    for (addition, key, severity) in RELATIONS {
        let found = problems(&sound_with(addition));
        let problem =
            found.iter().find(|problem| problem.key == *key).unwrap_or_else(|| panic!("{addition}: {found:?}"));
        assert_eq!(problem.severity, *severity, "{problem}");
        assert!(!problem.remedy.is_empty(), "{problem}");
        // `forge.path` may be reported because it is not there; then its section is the place.
        assert!(problem.place.as_ref().is_some_and(|place| place.line > 0), "{addition}: {problem}");
        let zero_limits = addition.contains("wall = \"0s\"");
        assert!(zero_limits || found.len() == 1, "{addition}: {found:?}");
    }
}

#[test]
fn a_problem_is_shown_with_file_line_and_column() {
    let file = sound_with("worker.count = 0");
    let shown = problems(&file)[0].to_string();
    let what = "`worker.count` is zero: no job would ever run; set it to 1 or more";
    assert_eq!(shown, format!("{}:3:8: {what}", file.path.display()));
}

#[test]
fn a_problem_of_a_variable_names_the_variable_and_not_the_file() {
    let loaded = sound_with("").load_with(&[("DATABASE_URL", "postgres://u:hunter2@db/x")], &[]).expect("sound");
    let problem = loaded.check(&[]).remove(0).to_string();
    assert!(problem.contains("(set by DATABASE_URL)") && !problem.contains("hunter2"), "{problem}");
}

#[test]
fn without_any_setting_the_missing_token_keeps_it_from_starting() {
    let found = check(&Config::default(), &[]);
    let keys: Vec<_> = found.iter().map(|problem| (problem.key.as_str(), problem.severity)).collect();
    let expected = [
        ("forge.token", Severity::Error),
        ("sentry.webhook_secrets", Severity::Warning),
        ("project", Severity::Warning),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_table_that_a_variable_set_is_blamed_on_that_variable() {
    let agents = [("PATCHWRIGHT_AGENTS", "{ a = { command = [] } }")];
    let found = sound_with("").load_with(&agents, &[]).expect("sound").check(&["claude"]);
    assert!(found[0].to_string().contains("(set by PATCHWRIGHT_AGENTS)"), "{}", found[0]);
}

#[test]
fn the_only_agent_there_is_needs_no_name() {
    let file = sound_with("[agents.a]\ncommand = [\"x\"]\n[[project]]\nsentry = \"b\"\nrepository = \"a/b\"");
    assert_eq!(problems(&file), []);
}
