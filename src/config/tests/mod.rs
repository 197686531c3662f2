//! The settings: the shipped defaults, the layers, the places, and what a broken file is told.

use std::path::{Path, PathBuf};

use super::{
    Config, ConfigError, ConfigPlace, DEFAULTS, Environment, Origin, Position, Settings,
    settings::KEYS,
};

mod shipped;

/// The settings of a folder with an `iterd.toml` of this text.
fn load(
    text: &str,
    environment: &[(&str, &str)],
    overrides: &[(&str, &str)],
) -> Result<(Settings, PathBuf), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("iterd.toml"), text).unwrap();
    let environment = environment.iter().copied().collect();
    let place = ConfigPlace::find(Some(folder.path()), &environment).unwrap();
    let overrides: Vec<_> = overrides
        .iter()
        .map(|(key, text)| (*key, (*text).to_owned()))
        .collect();
    let settings = Settings::load(&place, &environment, &overrides)?;
    Ok((settings, folder.path().to_owned()))
}

#[test]
fn the_shipped_file_says_the_defaults_and_every_key() {
    let settings = Settings::parse(Path::new("iterd.toml"), DEFAULTS).unwrap();
    assert_eq!(settings.config, Config::default());
    for key in &KEYS {
        let (section, last) = key.name.split_once('.').unwrap_or(("", key.name));
        let start = DEFAULTS.find(&format!("\n[{section}]")).unwrap_or(0);
        let written = DEFAULTS[start..].lines().any(|line| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{last} = "))
        });
        assert!(written, "{} is not in config/iterd.toml", key.name);
    }
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let shown = |settings: &Settings| -> String {
        let rows = settings.rows().into_iter();
        rows.filter(|row| !row.value.is_empty())
            .map(|row| format!("{} = {}\n", row.key, row.value))
            .collect::<Vec<_>>()
            .concat()
    };
    for text in [
        "",
        "state_dir = \"/a \\\"b\\\"\"\nretention.results = \"forever\"\nlog.format = \"json\"\n[limiters.\"crm.2\"]\npace = \"1 per s\"\nquota = \"5 per day\"\ntime_zone = \"Asia/Tokyo\"\nreset_hour = 6\nspread = \"even\"\n[limiters.b]",
        "[services]\nendpoint = \"aws\"\nprofile = \"p\"\n[services.dynamodb]\nendpoint = \"http://[::1]:5000/\"\nregion = \"eu-west-1\"\n[services.sqs]",
        "[mail]\nserver = \"smtps://[::1]:465/\"\nfrom = \"a@b\"\nuser = \"u\"\npassword = \"env:P\"\n[topics.t]\nwebhook = \"https://h/p?q=1\"\nsecret = \"file:/k\"\ncommand = [\"page\", \"a \\\"b\\\"\"]\nemail = [\"c@d\", \"e@f\"]\nlog = true\nqueue = \"q\"\n[topics.empty]",
        "[connections.\"a.b\"]\nkind = \"basic\"\nuser = \"u\"\npassword = \"env:P\"\nhosts = [\"API.example.com\", \"[::1]:9000\"]\nheaders = { \"X-A\" = \"1\" }\nquery = { \"q r\" = \"\\\"\" }\nbody = { n = 1, l = [{ a = true }] }\n[connections.k]\nkind = \"api-key\"\nheader = \"X-Api-Key\"\nvalue = \"file:/k\"\nhosts = [\"h\"]\n[connections.o]\nkind = \"oauth\"\ntoken_url = \"https://h/t?x=1\"\nclient_id = \"i\"\nclient_secret = \"credential:s\"\nclient_in = \"body\"\nscope = \"a b\"\nhosts = [\"h:8443\"]\nparameters = { audience = \"a\" }",
        "[triggers.\"a.b\"]\nkind = \"http\"\nmachine = \"m:live\"\nsignature = \"env:S\"\nwait = true\nname = \"$.body.id\"\n[triggers.\"a.b\".input]\n\"x.$\" = \"$.body\"\ny = [1, 2.5, true, \"\\\"\"]\nz = { a = {} }\n[triggers.t]\nkind = \"http\"\nmachine = \"m\"\ntoken = \"file:/t\"\ninput = \"$.body\"\n[triggers.q]\nkind = \"queue\"\nqueue = \"in\"\nmachine = \"m\"\nat_once = 7\n[triggers.f]\nkind = \"folder\"\npath = \"/in\"\npattern = \"*.csv\"\nmachine = \"m\"",
    ] {
        let settings = Settings::parse(Path::new("iterd.toml"), text).unwrap();
        let again = Settings::parse(Path::new("shown.toml"), &shown(&settings)).unwrap();
        assert_eq!(again.config, settings.config);
    }
}

#[test]
fn the_later_layer_wins_and_each_value_knows_its_origin() {
    let (settings, folder) = load(
        "region = \"eu-central-1\"\naccount = \"111111111111\"\n[items]\npage_items_max = 10\n[log]\nlevel = \"warn\"\n",
        &[
            ("ITERD_ACCOUNT", "222222222222"),
            ("ITERD_ITEMS_PAGE_ITEMS_MAX", "20"),
            ("ITERD_LOG_LEVEL", ""),
            ("OTHER", "x"),
        ],
        &[("items.page_items_max", "30"), ("listen", "127.0.0.1:9000")],
    )
    .unwrap();
    let told: Vec<String> = settings
        .rows()
        .iter()
        .filter(|row| row.origin != Origin::Default)
        .map(|row| {
            let origin = row.origin.to_string();
            let origin = origin.replace(folder.to_str().unwrap(), "");
            format!("{} = {} ({origin})", row.key, row.value)
        })
        .collect();
    assert_eq!(
        told,
        [
            "listen = \"127.0.0.1:9000\" (command line)",
            "region = \"eu-central-1\" (/iterd.toml:1:10)",
            "account = \"222222222222\" (environment variable ITERD_ACCOUNT)",
            "log.level = \"warn\" (/iterd.toml:6:9)",
            "items.page_items_max = 30 (command line)",
        ]
    );
    assert_eq!(settings.config.jobs_dir, folder.join("jobs"));
    assert!(settings.warnings.is_empty());
}

#[test]
fn a_file_is_refused_with_everything_that_is_wrong_in_it() {
    check(
        r#"
listne = "127.0.0.1:8083"
region = "Frankfurt"
account = 12
shutdown_grace = "30 apples"
sandbox = "of"
[log]
level = "inof"
colour = true
[items]
record_bytes_max = "64 MB"
page_bytes_max = "1 B"
page_items_max = 0
[store]
disk_free_min = 5
[retention]
results = "ever"
[limiters.crm]
pase = "1 per s"
spread = "evn"
[limiters."a b"]
reserve = 3
"#,
        &[
            r#"2:1: unknown key "listne"; did you mean "listen"?"#,
            r#"3:10: region: "Frankfurt" is no region; write for example "us-east-1""#,
            r"4:11: account: expected a text, found the number 12",
            r#"5:18: shutdown_grace: "30 apples" is no duration; write for example "30s", "500ms", "6h" or "1h30m""#,
            r#"6:11: sandbox: unknown value "of"; did you mean "on"?"#,
            r#"8:9: log.level: "inof" is no level; write one of off, error, warn, info, debug, trace, or for example "iterd=debug""#,
            r#"9:1: unknown key "colour" in [log]; it takes format, level"#,
            r#"11:20: items.record_bytes_max: "64 MB" is no size; write "64 MiB""#,
            r#"12:18: items.page_bytes_max: 1 B is out of bounds; write from "1 KiB" to "1 GiB""#,
            r"13:18: items.page_items_max: expected a whole number from 1 to 100000, found the number 0",
            r#"15:17: store.disk_free_min: expected a size such as "64 MiB", found the number 5"#,
            r#"17:11: retention.results: "ever" is no duration; write for example "30s", "500ms", "6h" or "1h30m"; or "forever""#,
            r#"19:1: unknown key "pase" in [limiters.crm]; did you mean "pace"?"#,
            r#"20:10: limiters.crm.spread: unknown value "evn"; did you mean "even"?"#,
            r#"20:10: limiters.crm.spread: it is about a quota, and there is none; write for example quota = "500 per day""#,
            r#"21:1: limiters."a b": "a b" has ' ' in it; write 1 to 80 letters, digits, "-", "_" or ".""#,
            r#"22:11: limiters."a b".reserve: it is about a quota, and there is none; write for example quota = "500 per day""#,
        ],
    );
    check(
        "[triggers.a]\nmachine = \"m\"\n[triggers.b]\nkind = \"htpt\"\n[triggers.c]\nkind = \"http\"\ntoken = \"env:T\"\nsignature = \"env:S\"\ninput = 3\nnmae = \"x\"\n[triggers.d]\nkind = \"http\"\nmachine = \"m\"\nsignature_header = \"a b\"\n[triggers.e]\nkind = \"queue\"\nmachine = \"m\"\nat_once = 0\ntoken = \"env:T\"\n[triggers.f]\nkind = \"folder\"\nmachine = \"m\"\npattern = \"a/*\"",
        &[
            r#"1:1: triggers.a.kind is missing; write for example kind = "http""#,
            r#"4:8: triggers.b.kind: unknown value "htpt"; did you mean "http"?"#,
            r"5:1: triggers.c.machine is missing; write the name of a state machine",
            r"8:13: triggers.c.signature: a caller has a token or signs with a secret; leave one of them out",
            r#"9:9: triggers.c.input: expected a table such as { "order.$" = "$.body.order" }, or a path as a text"#,
            r#"10:1: unknown key "nmae" in [triggers.c]; did you mean "name"?"#,
            r#"14:20: triggers.d.signature_header: "a b" is no name of a header; write for example "X-Hub-Signature-256""#,
            r#"14:20: triggers.d.signature_header: it is about a signature, and there is none; write for example signature = "file:/etc/iterd/secret""#,
            r"15:1: triggers.e.queue is missing; write the name of a queue",
            r"18:11: triggers.e.at_once: expected a whole number from 1 to 1000000, found the number 0",
            r#"19:1: unknown key "token" in [triggers.e]; it takes at_once, input, kind, machine, name, queue"#,
            r#"20:1: triggers.f.path is missing; write for example path = "/srv/in""#,
            r#"23:11: triggers.f.pattern: "a/*" is no pattern of a file's name; it knows * and ?, no /, [ or {"#,
        ],
    );
    check(
        "log = 3\nitems = []",
        &[
            "1:7: log: expected a table, found the number 3",
            "2:9: items: expected a table, found a list",
        ],
    );
    check(
        "listen = x",
        &["1:10: string values must be quoted, expected literal string"],
    );
}

fn check(text: &str, problems: &[&str]) {
    let refused = Settings::parse(Path::new("iterd.toml"), text).unwrap_err();
    let told = refused.to_string().replace("iterd.toml:", "");
    assert_eq!(told.lines().collect::<Vec<_>>(), problems);
}

#[test]
fn environment_and_command_line_are_checked_like_the_file() {
    let refused = load(
        "",
        &[("ITERD_LISTEN", "nowhere")],
        &[
            ("items.page_items_max", "x"),
            ("log.levle", "debug"),
            ("log.format", "7"),
        ],
    )
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "environment variable ITERD_LISTEN: listen: \"nowhere\" is no address with a port; write for example \"127.0.0.1:8083\"\n\
         command line: items.page_items_max: expected a whole number from 1 to 100000, found the text \"x\"\n\
         command line: unknown setting \"log.levle\"; did you mean \"log.level\"?\n\
         command line: log.format: expected a text, found the number 7"
    );
}

#[test]
fn a_variable_that_nearly_is_a_setting_is_told_and_others_are_left_alone() {
    let environment = [
        ("ITERD_LOGLEVEL", "debug"),
        ("ITERD_KEY", "k"),
        ("ITERD_INDEX", "1"),
    ];
    let (settings, _) = load("", &environment, &[]).unwrap();
    let warnings: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["environment variable ITERD_LOGLEVEL: it is no setting; did you mean ITERD_LOG_LEVEL?"]
    );
}

#[test]
fn state_and_settings_lie_where_the_first_of_several_places_says() {
    type Row = (
        &'static [(&'static str, &'static str)],
        Option<&'static str>,
        Option<&'static str>,
    );
    let table: [Row; 6] = [
        (
            &[("HOME", "/h")],
            Some("/h/.local/state/iterd"),
            Some("/h/.config/iterd/iterd.toml"),
        ),
        (
            &[
                ("HOME", "/h"),
                ("XDG_STATE_HOME", "/x"),
                ("XDG_CONFIG_HOME", "/y"),
            ],
            Some("/x/iterd"),
            Some("/y/iterd/iterd.toml"),
        ),
        (
            &[
                ("XDG_STATE_HOME", "/x"),
                ("STATE_DIRECTORY", "/s:/t"),
                ("CONFIGURATION_DIRECTORY", "/c"),
            ],
            Some("/s"),
            Some("/c/iterd.toml"),
        ),
        (
            &[("HOME", "/h"), ("XDG_STATE_HOME", "relative")],
            Some("/h/.local/state/iterd"),
            Some("/h/.config/iterd/iterd.toml"),
        ),
        (&[("HOME", "")], None, None),
        (&[], None, None),
    ];
    for (variables, state, file) in table {
        let environment: Environment = variables.iter().copied().collect();
        let config = Config::default();
        assert_eq!(
            config.state_dir(&environment).ok(),
            state.map(PathBuf::from)
        );
        let place = ConfigPlace::find(None, &environment).ok();
        assert_eq!(place.map(|place| place.file), file.map(PathBuf::from));
        let said = Config {
            state_dir: Some("/said".into()),
            ..config
        };
        assert_eq!(said.state_dir(&environment).unwrap(), Path::new("/said"));
    }
    assert_eq!(
        Config::default()
            .state_dir(&Environment::default())
            .unwrap_err()
            .to_string(),
        "no place for state: HOME is not set; set it, or pass --state DIR"
    );
}

#[test]
fn a_named_file_must_be_there_and_an_unnamed_one_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.toml");
    let environment = Environment::default();
    let named = ConfigPlace::find(Some(&file), &environment).unwrap();
    assert!(matches!(
        Settings::load(&named, &environment, &[]),
        Err(ConfigError::Unreadable { .. })
    ));
    let unnamed = ConfigPlace::find(Some(folder.path()), &environment).unwrap();
    let settings = Settings::load(&unnamed, &environment, &[]).unwrap();
    assert_eq!(settings.config.plugins_dir, folder.path().join("plugins"));
}

#[test]
fn a_problem_that_others_find_stands_where_the_value_does() {
    let (settings, _) = load("[limiters.crm]\npace = \"fast\"\n", &[], &[]).unwrap();
    let problem = settings.problem("limiters.crm.pace", "\"fast\" is no pace");
    assert!(
        matches!(&problem.origin, Origin::File { position, .. } if *position == Position { line: 2, column: 8 })
    );
    assert_eq!(problem.message, "limiters.crm.pace: \"fast\" is no pace");
    let problem = settings.problem("log.level", "..");
    assert!(
        matches!(problem.origin, Origin::File { .. }),
        "the file that was read"
    );
}

#[test]
fn services_are_somewhere_and_what_nobody_knows_of_them_is_refused() {
    check(
        r#"
[services]
endpiont = "aws"
endpoint = "127.0.0.1:5000"
region = "Frankfurt am Main"
[services.sqs]
endpoint = "http://user:secret@host"
zone = "a"
[services.dynamodb]
endpoint = "ftp://host"
[services.sns]
endpoint = "https://host/path"
"#,
        &[
            "3:1: unknown key \"endpiont\" in [services]; did you mean \"endpoint\"?",
            "4:12: services.endpoint: \"127.0.0.1:5000\" is no place of a service; write \"aws\", or for example \"http://127.0.0.1:5000\"",
            "5:10: services.region: \"Frankfurt am Main\" is no region; write for example \"us-east-1\"",
            "7:12: services.sqs.endpoint: a place of a service has no user; credentials are AWS's usual ones",
            "8:1: unknown key \"zone\" in [services.sqs]; it takes endpoint, region",
            "10:12: services.dynamodb.endpoint: \"ftp://host\" is no place of a service; write \"aws\", or for example \"http://127.0.0.1:5000\"",
            "12:12: services.sns.endpoint: \"https://host/path\" is no place of a service; write \"aws\", or for example \"http://127.0.0.1:5000\"",
        ],
    );
}

#[test]
fn topics_go_somewhere_and_what_nobody_knows_of_them_is_refused() {
    check(
        r#"
[mail]
server = "smpt://h"
user = "u"
[topics.a]
webhok = "https://h/"
webhook = "ftp://h/"
secret = "s3cret"
command = []
email = ["ops", "a@b\nBcc: c"]
log = "yes"
queue = "a.fifo"
[topics."b c"]
secret = "file:/k"
[topics.c]
webhook = "https://user:s3cret@h/"
"#,
        &[
            r#"3:10: mail.server: unknown scheme "smpt"; did you mean "smtp"?"#,
            r#"6:1: unknown key "webhok" in [topics.a]; did you mean "webhook"?"#,
            r#"7:11: topics.a.webhook: "ftp://h/" is no URL of a webhook; write for example "https://example.org/hook""#,
            "8:10: topics.a.secret: it is no reference of a secret; write credential:NAME, file:/PATH or env:NAME",
            "9:11: topics.a.command: must name a program",
            r#"10:10: topics.a.email: "ops" is no address; write for example "ops@example.org""#,
            r#"10:17: topics.a.email: "a@b\nBcc: c" is no address; write for example "ops@example.org""#,
            r#"11:7: topics.a.log: expected true or false, found the text "yes""#,
            r#"12:9: topics.a.queue: "a.fifo" is no name of a queue; write 1 to 80 letters, digits, "-" or "_""#,
            r#"13:1: topics."b c": "b c" is no name of a topic; write 1 to 256 letters, digits, "-" or "_""#,
            r#"14:10: topics."b c".secret: it signs what goes to a webhook, and there is none; write webhook = "https://..""#,
            "16:11: topics.c.webhook: the URL of a webhook has no user; what it is signed with is a secret",
        ],
    );
}

#[test]
fn e_mail_of_topics_leaves_by_a_server_and_no_password_in_plain_text() {
    check(
        "[mail]\nuser = \"u\"\n[topics.t]\nemail = [\"a@b\"]",
        &[
            "2:8: mail.user: user and password stand together",
            "3:1: topics.t: it has e-mail, which nobody takes or is from; write [mail] with server = \"smtp://127.0.0.1:25\" and from = \"iterd@example.org\", for example",
        ],
    );
    check(
        "[mail]\nserver = \"smtp://mail.example.org\"\nuser = \"u\"\npassword = \"env:P\"",
        &[
            "2:10: mail.server: \"smtp://mail.example.org:25\" would be told the password in plain text; write starttls:// or smtps://",
        ],
    );
    // What another layer says counts.
    let text = "[topics.t]\nemail = [\"a@b\"]";
    let variables = [
        ("ITERD_MAIL_SERVER", "smtp://localhost"),
        ("ITERD_MAIL_FROM", "c@d"),
    ];
    let (settings, _) = load(text, &variables, &[]).unwrap();
    let server = settings.config.mail.server.unwrap();
    assert_eq!((server.host.as_str(), server.port), ("localhost", 25));
}

#[test]
fn a_command_that_looks_like_a_path_is_found_from_the_file() {
    let text = "[topics.t]\ncommand = [\"./page\", \"x\"]\n[topics.u]\ncommand = [\"page\"]";
    let (settings, folder) = load(text, &[], &[]).unwrap();
    let command = |name: &str| settings.config.topics[name].command.clone().unwrap();
    assert_eq!(command("t").program, folder.join("page"));
    assert_eq!(command("t").folder, folder);
    assert_eq!(command("u").program, Path::new("page"));
}

#[test]
fn a_connection_says_where_its_secret_goes_and_holds_none() {
    check(
        r#"
[connections.a]
kind = "basik"
[connections.b]
kind = "basic"
user = "u:v"
passwort = "env:P"
hosts = []
[connections.c]
kind = "api-key"
header = "Host"
value = "s3cret"
hosts = ["169.254.169.254", "https://h", "10.0.0.0/8", "0xa9fea9fe", "h:0", "fd00::1"]
[connections.d]
kind = "api-key"
header = "X-Key"
value = "env:K"
hosts = ["h"]
headers = { "x-key" = "1", "a b" = "1", B = "env:TOKEN", C = 1 }
[connections.e]
kind = "oauth"
token_url = "http://login.example.com/"
client_id = "i"
client_secret = "env:S"
parameters = { scope = "s" }
client_in = "bodi"
[connections.f]
kind = "oauth"
token_url = "https://u:s3cret@h/"
client_id = "i"
client_secret = "env:S"
hosts = ["h"]
"#,
        &[
            r#"3:8: connections.a.kind: unknown value "basik"; did you mean "basic"?"#,
            "4:1: connections.b.password is missing; write where it is, for example password = \"credential:crm\"",
            r#"6:8: connections.b.user: "u:v" has a colon in it"#,
            r#"7:1: unknown key "passwort" in [connections.b]; did you mean "password"?"#,
            r#"8:9: connections.b.hosts: it goes nowhere; write for example "api.example.com""#,
            r#"11:10: connections.c.header: "Host" is not a connection's to set; leave it out"#,
            "12:9: connections.c.value: it is no reference of a secret; write credential:NAME, file:/PATH or env:NAME",
            r#"13:10: connections.c.hosts: "169.254.169.254" is no address that a connection goes to: what a machine's own network is told by (the metadata of a cloud) and what is no single host; write the API's"#,
            r#"13:29: connections.c.hosts: "https://h" is no host; write for example "api.example.com" or "127.0.0.1:9000""#,
            r#"13:42: connections.c.hosts: "10.0.0.0/8" is no host; write for example "api.example.com" or "127.0.0.1:9000""#,
            r#"13:56: connections.c.hosts: "0xa9fea9fe" is no host; write for example "api.example.com" or "127.0.0.1:9000""#,
            r#"13:70: connections.c.hosts: "h:0" is no host; write for example "api.example.com" or "127.0.0.1:9000""#,
            r#"13:77: connections.c.hosts: "fd00::1" is no host; write for example "api.example.com" or "127.0.0.1:9000""#,
            r#"19:11: connections.d.headers: "B": no reference is looked up here; a connection has one secret, for example header = "x-api-key" with value = "credential:crm""#,
            r#"19:11: connections.d.headers: "C": expected a text"#,
            r#"19:11: connections.d.headers: "a b": "a b" is no name of a header"#,
            r#"19:11: connections.d.headers: "X-Key" is the header that the secret goes in; leave it out"#,
            r#"20:1: connections.e.hosts is missing; write where its secret may go, for example hosts = ["api.example.com"]"#,
            r#"22:13: connections.e.token_url: "http://login.example.com/" is no URL that a secret goes to; write https://, for example "https://login.example.com/oauth2/token" (http:// only on this machine)"#,
            r#"25:14: connections.e.parameters: "scope": "scope" is no further parameter; it is told anyway"#,
            r#"26:13: connections.e.client_in: unknown value "bodi"; did you mean "body"?"#,
            "29:13: connections.f.token_url: the URL of a token has no user; write client_id and client_secret",
        ],
    );
}
