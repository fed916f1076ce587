//! The REST API: the answers' shapes and GitHub's refusals.
//!
//! Invariant: a request that GitHub would refuse is refused in the same order of checks and with the same text.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::model::{Model, Permission, Pull, Repo, State};
use super::{LOGIN, Shared};

/// A refusal with GitHub's usual body.
pub(super) fn problem(status: u16, message: &str) -> Response {
    refusal(status, json!({ "message": message, "documentation_url": "https://docs.github.example/rest" }))
}

fn refusal(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response()
}

fn invalid(errors: &[Value]) -> Response {
    refusal(
        422,
        json!({
            "message": "Validation Failed", "errors": errors,
            "documentation_url": "https://docs.github.example/rest/pulls/pulls#create-a-pull-request", "status": "422",
        }),
    )
}

fn invalid_custom(resource: &str, message: &str) -> Response {
    invalid(&[json!({ "resource": resource, "code": "custom", "message": message })])
}

/// Answers one authorised request.
pub(super) fn answer(shared: &Shared, method: &Method, uri: &Uri, body: &Bytes) -> Response {
    let (prefix, path) = match uri.path().strip_prefix("/api/v3") {
        Some(path) => ("/api/v3", path),
        None => ("", uri.path()),
    };
    let api = format!("{}{prefix}", shared.url);
    let mut model = shared.model();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (repository, rest) = match segments.as_slice() {
        ["user"] if method == Method::GET => {
            let body = Json(user(&api, LOGIN));
            return ([("x-oauth-scopes", "repo, workflow")], body).into_response();
        }
        ["repos", owner, name, rest @ ..] => {
            let full_name = format!("{owner}/{name}");
            if let Some(present) = model.renamed(&full_name) {
                return moved(&api, &present, method, rest, uri.query());
            }
            (model.repository(&full_name), rest)
        }
        ["repositories", id, rest @ ..] => (id.parse().ok().and_then(|id| model.repository_by_id(id)), rest),
        _ => (None, [].as_slice()),
    };
    let Some(repository) = repository else { return problem(404, "Not Found") };
    let input: Value = match (method.as_str(), serde_json::from_slice(body)) {
        ("GET", _) => Value::Null,
        (_, Ok(input @ Value::Object(_))) => input,
        _ => return problem(400, "Problems parsing JSON"),
    };
    if method != Method::GET && model.withheld.contains(&Permission::PullRequests) {
        return problem(403, "Resource not accessible by personal access token");
    }
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let number = |text: &&str| text.parse::<u64>().unwrap_or(0);
    match (method.as_str(), rest) {
        ("GET", []) => Json(repository_json(&api, &repository)).into_response(),
        ("GET", ["pulls"]) => list(&mut model, &api, &repository, &query),
        ("POST", ["pulls"]) => create(&mut model, &api, &repository, &input),
        (verb, ["pulls", n]) if matches!(verb, "GET" | "PATCH") => {
            on_pull(&mut model, &repository, number(n), |pull| {
                if verb == "PATCH" {
                    if repository.archived {
                        return problem(403, "Repository was archived so is read-only.");
                    }
                    let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
                    if let Some(refusal) = too_long(&text("title"), &text("body")) {
                        return refusal;
                    }
                    patch(pull, &input);
                }
                Json(pull_json(&api, &repository, pull)).into_response()
            })
        }
        ("POST", ["issues", n, "labels"]) => {
            on_pull(&mut model, &repository, number(n), |pull| label(&api, &repository, pull, &input))
        }
        ("POST", ["pulls", n, "requested_reviewers"]) => {
            let collaborators = model.collaborators.clone();
            on_pull(&mut model, &repository, number(n), |pull| {
                let wanted = strings(&input["reviewers"]);
                if wanted.iter().any(|login| login == LOGIN) {
                    return problem(422, "Review cannot be requested from pull request author.");
                }
                let teams = strings(&input["team_reviewers"]);
                if teams.iter().chain(&wanted).any(|login| !collaborators.contains(login)) {
                    let text = format!(
                        "Reviews may only be requested from collaborators. One or more of the users or teams you \
                         specified is not a collaborator of the {} repository.",
                        repository.full_name()
                    );
                    return problem(422, &text);
                }
                pull.reviewers.extend(wanted.into_iter().chain(teams));
                (StatusCode::CREATED, Json(pull_json(&api, &repository, pull))).into_response()
            })
        }
        _ => problem(404, "Not Found"),
    }
}

/// A renamed repository: 301 for reading, 307 for the rest, to an address by id.
fn moved(api: &str, present: &Repo, method: &Method, rest: &[&str], query: Option<&str>) -> Response {
    let mut location = format!("{api}/repositories/{}", present.id);
    for segment in rest {
        location = format!("{location}/{segment}");
    }
    if let Some(query) = query {
        location = format!("{location}?{query}");
    }
    let status = if method == Method::GET { 301 } else { 307 };
    let body =
        json!({ "message": "Moved Permanently", "url": location, "documentation_url": "https://docs.github.example" });
    let mut response = refusal(status, body);
    response.headers_mut().insert(header::LOCATION, location.parse().expect("a sound address"));
    response
}

fn on_pull(model: &mut Model, repository: &Repo, number: u64, work: impl FnOnce(&mut Pull) -> Response) -> Response {
    model.pulls_of(&repository.full_name());
    match model.pull_mut(number) {
        Some(pull) if pull.repository == repository.id => work(pull),
        _ => problem(404, "Not Found"),
    }
}

/// Newest first. A `head` without its owner is no filter at all.
fn list(model: &mut Model, api: &str, repository: &Repo, query: &BTreeMap<String, String>) -> Response {
    let value = |name: &str, default: &str| query.get(name).cloned().unwrap_or_else(|| default.to_owned());
    let (state, head, base) = (value("state", "open"), value("head", ""), value("base", ""));
    let per_page = value("per_page", "30").parse::<usize>().unwrap_or(30).clamp(1, 100);
    let page = value("page", "1").parse::<usize>().unwrap_or(1).max(1);
    let shown: Vec<Value> = model
        .pulls_of(&repository.full_name())
        .iter()
        .rev()
        .filter(|pull| match state.as_str() {
            "all" => true,
            "closed" => pull.state != State::Open,
            _ => pull.state == State::Open,
        })
        .filter(|pull| match head.split_once(':') {
            Some((owner, branch)) => owner.eq_ignore_ascii_case(&repository.owner) && branch == pull.branch,
            None => true,
        })
        .filter(|pull| base.is_empty() || base == pull.base)
        .skip((page - 1) * per_page)
        .take(per_page)
        .map(|pull| pull_json(api, repository, pull))
        .collect();
    Json(shown).into_response()
}

fn create(model: &mut Model, api: &str, repository: &Repo, input: &Value) -> Response {
    for field in ["head", "base", "title"] {
        if !input[field].is_string() {
            return refusal(422, json!({ "message": format!("Invalid request.\n\n\"{field}\" wasn't supplied.") }));
        }
    }
    if !matches!(input["draft"], Value::Null | Value::Bool(_)) {
        return refusal(422, json!({ "message": "Invalid request.\n\nFor 'properties/draft', not a boolean." }));
    }
    if repository.archived {
        return problem(403, "Repository was archived so is read-only.");
    }
    let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
    let (title, body, base) = (text("title"), text("body"), text("base"));
    let branch = text("head").trim_start_matches(&format!("{}:", repository.owner)).to_owned();
    let (head, base_tip) = (repository.tip(&branch), repository.tip(&base));
    let (Some(head), Some(base_tip)) = (head, base_tip) else {
        let missing = [("head", head), ("base", base_tip)].into_iter().filter(|(_, tip)| tip.is_none());
        let errors: Vec<Value> =
            missing.map(|(field, _)| json!({ "resource": "PullRequest", "field": field, "code": "invalid" })).collect();
        return invalid(&errors);
    };
    if title.trim().is_empty() {
        return invalid(&[json!({ "resource": "PullRequest", "code": "missing_field", "field": "title" })]);
    }
    if let Some(refusal) = too_long(&title, &body) {
        return refusal;
    }
    let there = |pull: &Pull| pull.state == State::Open && pull.branch == branch && pull.base == base;
    if model.pulls_of(&repository.full_name()).iter().any(there) {
        let text = format!("A pull request already exists for {}:{branch}.", repository.owner);
        return invalid_custom("PullRequest", &text);
    }
    if !repository.related(head, base_tip) {
        let text = format!("The {branch} branch has no history in common with {base}");
        return invalid_custom("PullRequest", &text);
    }
    if repository.ahead(head, base_tip) == 0 {
        return invalid_custom("PullRequest", &format!("No commits between {base} and {branch}"));
    }
    let pull = Pull {
        number: model.next_number(),
        title,
        body,
        branch,
        base,
        state: State::Open,
        draft: input["draft"].as_bool().unwrap_or(false),
        labels: Vec::new(),
        reviewers: Vec::new(),
        head: head.to_string(),
        repository: repository.id,
    };
    let answer = (StatusCode::CREATED, Json(pull_json(api, repository, &pull))).into_response();
    model.add_pull(pull);
    answer
}

fn too_long(title: &str, body: &str) -> Option<Response> {
    if title.chars().count() > 256 {
        return Some(invalid_custom("Issue", "title is too long (maximum is 256 characters)"));
    }
    (body.chars().count() > 65_536).then(|| invalid_custom("Issue", "body is too long (maximum is 65536 characters)"))
}

/// `draft` cannot be changed this way.
fn patch(pull: &mut Pull, input: &Value) {
    let text = |field: &str| input[field].as_str().map(str::to_owned);
    pull.title = text("title").unwrap_or_else(|| pull.title.clone());
    pull.body = text("body").unwrap_or_else(|| pull.body.clone());
    pull.base = text("base").unwrap_or_else(|| pull.base.clone());
    match input["state"].as_str() {
        Some("closed") if pull.state == State::Open => pull.state = State::Closed,
        Some("open") if pull.state == State::Closed => pull.state = State::Open,
        _ => {}
    }
}

fn label(api: &str, repository: &Repo, pull: &mut Pull, input: &Value) -> Response {
    let names = strings(&input["labels"]);
    if names.iter().any(|name| name.is_empty() || name.chars().count() > 50) {
        return invalid(&[json!({ "resource": "Label", "code": "invalid", "field": "name" })]);
    }
    for name in names {
        if !pull.labels.contains(&name) {
            pull.labels.push(name);
        }
    }
    Json(labels_json(api, repository, pull)).into_response()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn user(api: &str, login: &str) -> Value {
    json!({
        "login": login, "id": 2000, "node_id": "U_synthetic", "avatar_url": "", "gravatar_id": "", "type": "User",
        "url": format!("{api}/users/{login}"), "html_url": format!("https://github.example/{login}"), "site_admin": false,
    })
}

fn repository_json(api: &str, repository: &Repo) -> Value {
    let full_name = repository.full_name();
    json!({
        "id": repository.id, "node_id": "R_synthetic", "name": repository.name, "full_name": full_name,
        "private": true, "owner": user(api, &repository.owner), "description": null, "fork": false,
        "html_url": format!("https://github.example/{full_name}"), "url": format!("{api}/repos/{full_name}"),
        "default_branch": repository.default_branch(), "archived": repository.archived, "disabled": false,
        "visibility": "private",
        "permissions": { "admin": false, "maintain": false, "push": !repository.archived, "triage": true, "pull": true },
    })
}

fn labels_json(api: &str, repository: &Repo, pull: &Pull) -> Vec<Value> {
    let one = |name: &String| {
        json!({
            "id": 3000, "node_id": "LA_synthetic", "name": name, "color": "ededed", "default": false,
            "description": null, "url": format!("{api}/repos/{}/labels/{name}", repository.full_name()),
        })
    };
    pull.labels.iter().map(one).collect()
}

fn pull_json(api: &str, repository: &Repo, pull: &Pull) -> Value {
    let full_name = repository.full_name();
    let (web, number) = (format!("https://github.example/{full_name}/pull/{}", pull.number), pull.number);
    let at = "2031-01-02T03:04:05Z";
    let (closed, merged) = (pull.state != State::Open, pull.state == State::Merged);
    let end = |branch: &str, sha: &str| {
        json!({
            "label": format!("{}:{branch}", repository.owner), "ref": branch, "sha": sha,
            "user": user(api, &repository.owner), "repo": repository_json(api, repository),
        })
    };
    let base = repository.tip(&pull.base).map(|tip| tip.to_string()).unwrap_or_default();
    json!({
        "url": format!("{api}/repos/{full_name}/pulls/{number}"), "id": 4000 + number, "node_id": "PR_synthetic",
        "html_url": web, "diff_url": format!("{web}.diff"), "patch_url": format!("{web}.patch"),
        "issue_url": format!("{api}/repos/{full_name}/issues/{number}"), "number": number,
        "state": if closed { "closed" } else { "open" }, "locked": false, "title": pull.title, "body": pull.body,
        "user": user(api, LOGIN), "created_at": at, "updated_at": at, "closed_at": closed.then_some(at),
        "merged_at": merged.then_some(at), "merge_commit_sha": null, "assignee": null, "assignees": [],
        "requested_reviewers": pull.reviewers.iter().map(|login| user(api, login)).collect::<Vec<_>>(),
        "requested_teams": [], "labels": labels_json(api, repository, pull), "milestone": null, "draft": pull.draft,
        "head": end(&pull.branch, &pull.head), "base": end(&pull.base, &base), "author_association": "MEMBER",
        "auto_merge": null, "active_lock_reason": null,
    })
}
