//! What an agent gets to see.
//!
//! Invariant: checked from the inside: the agent writes down what it finds, and the test reads that.

use std::collections::BTreeSet;

use super::published;
use crate::program::{Described, FIXER};

#[tokio::test]
async fn the_environment_is_the_allow_list_and_nothing_else() {
    let out = tempfile::tempdir().unwrap();
    let dump = format!("tr '\\0' '\\n' < /proc/self/environ > {}/env\n{FIXER}", out.path().display());
    let described = Described::with_agent(&dump)
        .agent_keys("pass_env = [\"MODEL_KEY\", \"NOT_SET\"]\nenv = { MODE = \"fix\" }")
        .environment("MODEL_KEY", "a-model-key")
        .environment("AWS_SECRET_ACCESS_KEY", "canary")
        .environment("LD_LIBRARY_PATH", "/canary")
        .environment("HTTPS_PROXY", "http://127.0.0.1:9")
        .environment("LANG", "C.UTF-8");
    let (service, _) = published(described).await;
    let text = std::fs::read_to_string(out.path().join("env")).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let expected = [
        "CI",
        "HOME",
        "LANG",
        "MODE",
        "MODEL_KEY",
        "NO_COLOR",
        "PATCHWRIGHT_CONTEXT_DIR",
        "PATCHWRIGHT_RESULT_FILE",
        "PATCHWRIGHT_RUN",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "TMPDIR",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected, "{text}");
    let work = format!("HOME={}", service.folder().join("data/work").display());
    assert!(text.lines().any(|line| line.starts_with(&work)), "{text}");
}

#[tokio::test]
async fn placeholders_are_filled_and_a_prompt_by_file_leaves_standard_input_empty() {
    let out = tempfile::tempdir().unwrap();
    let out_dir = out.path().display();
    let script = format!(
        "cat > {out_dir}/stdin; cp \"$1\" {out_dir}/prompt; [ \"$2\" = \"$PWD\" ] && touch {out_dir}/workspace\n\
         [ \"$3\" = \"--ctx=$PATCHWRIGHT_CONTEXT_DIR\" ] && touch {out_dir}/context\n\
         [ \"$4\" = \"$PATCHWRIGHT_RESULT_FILE\" ] && touch {out_dir}/result\n{FIXER}"
    );
    let command = format!(
        "[\"sh\", \"-c\", {}, \"agent\", \"{{prompt_file}}\", \"{{workspace}}\", \"--ctx={{context_dir}}\", \
         \"{{result_file}}\"]",
        crate::program::toml_string(&script)
    );
    published(Described::with_agent("").command(&command).agent_keys("prompt = \"file\"")).await;
    assert_eq!(std::fs::read(out.path().join("stdin")).unwrap(), b"");
    assert!(std::fs::read_to_string(out.path().join("prompt")).unwrap().contains("DivisionByZero"));
    for filled in ["workspace", "context", "result"] {
        assert!(out.path().join(filled).exists(), "{filled} was not filled in");
    }
}

#[tokio::test]
async fn the_prompt_names_the_evidence_and_the_context_folder_is_complete_and_read_only() {
    let out = tempfile::tempdir().unwrap();
    let out_dir = out.path().display();
    let script = format!(
        "cat > {out_dir}/prompt; cp -r \"$PATCHWRIGHT_CONTEXT_DIR\" {out_dir}/context\n\
         find \"$PATCHWRIGHT_CONTEXT_DIR\" -perm /222 > {out_dir}/writable\n{FIXER}"
    );
    let (service, _) = published(Described::with_agent(&script)).await;
    let prompt = std::fs::read_to_string(out.path().join("prompt")).unwrap();
    let head = service.repo.tip("main").unwrap();
    for evidence in ["DivisionByZero", "division by 0", "app.sh", "echo $(($1 / $2))", "sh tests/run.sh", &head[..12]] {
        assert!(prompt.contains(evidence), "`{evidence}` is not in the prompt:\n{prompt}");
    }
    assert_eq!(std::fs::read_to_string(out.path().join("writable")).unwrap(), "");
    let context = out.path().join("context");
    let index = std::fs::read_to_string(context.join("INDEX.md")).unwrap();
    for entry in std::fs::read_dir(&context).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(name == "INDEX.md" || index.contains(&format!("| {name} |")), "{name} is not in the index:\n{index}");
    }
    assert!(index.contains("event.json") && index.contains("## Missing"), "{index}");
    // The copy is as read-only as the original; it is opened up so that it can be removed.
    patchwright::prompt::folder::make_removable(&context).unwrap();
}
