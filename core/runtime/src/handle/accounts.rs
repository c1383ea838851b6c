//! Users, tokens and sessions: asking, changing, logging in.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_documents::{
    Action, Body, Change, Document, Documents, Entry, Kind, Refusal, Role, Session, Token, User,
};
use twinhub_model::{Event, NodeRank, Severity, Timestamp};

use super::Handle;
use crate::clock;
use crate::documents::secret;
use crate::error::CommandError;
use crate::inbox::{Job, Proposal, Recorded};
use crate::view::{AuditView, ChangeView, DocumentCounts, LoginView, TokenMadeView, TokenView, UserView};
use crate::vouching::Word;

/// The engine answers sooner.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or `token NAME`.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// The engine puts a word into a queue, no more.
const VOUCH_MAX: Duration = Duration::from_secs(1);

/// Who changes something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The user's name, `token NAME`, or what else the audit list is to say.
    pub name: String,
    /// From where.
    pub origin: String,
}

/// What is to become of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What it may do; as before if left out.
    pub role: Option<Role>,
    /// The password; as before if left out.
    pub password: Option<String>,
}

impl Handle {
    /// Who shows this secret, of a session or a token.
    pub fn identify(&self, secret: &str) -> Option<Identity> {
        let digest = secret::digest(secret.as_bytes());
        if let Some(vouched) = self.0.shared.vouched.take(&digest, clock::now()) {
            return Some(vouched);
        }
        let now = clock::utc();
        self.0.documents.read(|documents| {
            if let Some(session) = documents.session(&digest, now) {
                let role = documents.user(&session.user)?.role;
                return Some(Identity { name: session.user.clone(), role });
            }
            let (name, token) = documents.token(&digest)?;
            (!token.has_ended(now)).then(|| Identity { name: format!("token {name}"), role: token.role })
        })
    }

    /// A secret with which the node at this address lets this request in, in the name of who asks here; `None` if it
    /// cannot be told.
    pub async fn vouch(&self, url: &str, who: &Identity) -> Option<String> {
        let nodes = &self.site().nodes;
        let node = nodes.iter().find(|node| self.web_url(&node.name).as_deref() == Some(url))?;
        let secret = secret::make().ok()?;
        let digest = secret::digest(secret.as_bytes());
        let word = Word { digest, name: who.name.clone(), role: who.role.word().to_owned() };
        let word = minicbor::to_vec(word).ok()?;
        let inbox = self.0.inboxes.values().next()?;
        let (done, told) = oneshot::channel();
        inbox.push(Job::Vouch { to: NodeRank(node.rank), word, done });
        let told = tokio::time::timeout(VOUCH_MAX, told).await;
        matches!(told, Ok(Ok(true))).then_some(secret)
    }

    /// Logs a user in. The password is compared on a thread that may be busy for it.
    ///
    /// # Errors
    /// [`CommandError::WrongPassword`], or why nobody can log in here now.
    pub async fn login(&self, user: &str, password: &str, origin: &str) -> Result<LoginView, CommandError> {
        self.check_active()?;
        let known = self.0.documents.read(|documents| documents.user(user).cloned());
        let (role, hash) = known.map(|user| (user.role, user.password)).unzip();
        let password = password.to_owned();
        let is_right = self.busily(move || Ok(secret::is_password(&password, hash.as_ref()))).await?;
        let Some(role) = role.filter(|_| is_right) else { return Err(CommandError::WrongPassword) };
        let session = secret::make()?;
        let lasts = self.0.shared.session_time();
        let expires = after(lasts);
        let name = secret::digest(session.as_bytes()).to_string();
        let body = Body::Session(Session { user: user.to_owned(), expires: expires.0 });
        let author = Author { name: user.to_owned(), origin: origin.to_owned() };
        self.change(&author, Action::Put { name, body, base: Some(0) }, Need::Any).await?;
        let (user, role) = (user.to_owned(), role.word().to_owned());
        Ok(LoginView { user, role, session, expires: expires.to_string(), lasts_s: lasts.as_secs() })
    }

    /// Ends a session; it is none if there is no such session.
    ///
    /// # Errors
    /// Why it cannot be ended here now.
    pub async fn logout(&self, author: &Author, session: &str) -> Result<(), CommandError> {
        let name = secret::digest(session.as_bytes()).to_string();
        match self.change(author, Action::Remove { kind: Kind::Session, name }, Need::Any).await {
            Ok(_) | Err(CommandError::Document(Refusal::Unknown { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All users.
    pub fn users(&self) -> Vec<UserView> {
        let now = clock::utc();
        self.0.documents.read(|documents| {
            let view = |document: &Document| {
                let user = documents.user(&document.name)?;
                let is_of = |session: &Session| session.user == document.name && !session.has_ended(now);
                Some(UserView {
                    name: document.name.clone(),
                    role: user.role.word().to_owned(),
                    sessions: documents.sessions().filter(|(_, session)| is_of(session)).count() as u64,
                    revision: document.revision,
                    author: document.author.clone(),
                    at: Timestamp(document.time).to_string(),
                })
            };
            documents.list(Kind::User).filter_map(view).collect()
        })
    }

    /// Makes a user; both a role and a password are needed.
    ///
    /// # Errors
    /// Why not.
    pub async fn add_user(
        &self,
        author: &Author,
        name: &str,
        change: UserChange,
        alone: bool,
    ) -> Result<ChangeView, CommandError> {
        let UserChange { role: Some(role), password: Some(password) } = change else {
            return Err(CommandError::BadValue { what: "a new user needs a role and a password".to_owned() });
        };
        self.check_active()?;
        let password = self.hash(password).await?;
        let body = Body::User(User { role, password });
        self.change(author, Action::Put { name: name.to_owned(), body, base: Some(0) }, Need::of(alone)).await
    }

    /// Changes a user. A new password ends all sessions of the user.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_user(
        &self,
        author: &Author,
        name: &str,
        change: UserChange,
        alone: bool,
    ) -> Result<ChangeView, CommandError> {
        self.check_active()?;
        let unknown = || Refusal::Unknown { kind: Kind::User, name: name.to_owned() };
        let known = self.0.documents.read(|documents| {
            let document = documents.get(Kind::User, name)?;
            Some((document.revision, documents.user(name)?.clone()))
        });
        let (revision, mut user) = known.ok_or_else(unknown)?;
        user.role = change.role.unwrap_or(user.role);
        if let Some(password) = change.password {
            user.password = self.hash(password).await?;
        }
        let action = Action::Put { name: name.to_owned(), body: Body::User(user), base: Some(revision) };
        self.change(author, action, Need::of(alone)).await
    }

    /// Whether this is the password of the user.
    ///
    /// # Errors
    /// [`CommandError::Busy`] if too many ask at once.
    pub async fn is_password(&self, user: &str, password: &str) -> Result<bool, CommandError> {
        let hash = self.0.documents.read(|documents| documents.user(user).map(|user| user.password.clone()));
        let password = password.to_owned();
        self.busily(move || Ok(secret::is_password(&password, hash.as_ref()))).await
    }

    /// Removes a user and ends its sessions.
    ///
    /// # Errors
    /// Why not.
    pub async fn remove_user(&self, author: &Author, name: &str) -> Result<ChangeView, CommandError> {
        self.change(author, Action::Remove { kind: Kind::User, name: name.to_owned() }, Need::Any).await
    }

    /// All tokens.
    pub fn tokens(&self) -> Vec<TokenView> {
        self.0.documents.read(|documents| {
            let view = |document: &Document| match &document.body {
                Some(Body::Token(token)) => Some(TokenView {
                    name: document.name.clone(),
                    role: token.role.word().to_owned(),
                    expires: token.expires.map(|end| Timestamp(end).to_string()),
                    author: document.author.clone(),
                    at: Timestamp(document.time).to_string(),
                }),
                Some(Body::Configuration(_) | Body::User(_) | Body::Session(_)) | None => None,
            };
            documents.list(Kind::Token).filter_map(view).collect()
        })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// Why not.
    pub async fn create_token(
        &self,
        author: &Author,
        name: &str,
        role: Role,
        lasts: Option<Duration>,
        alone: bool,
    ) -> Result<TokenMadeView, CommandError> {
        let token = secret::make()?;
        let expires = lasts.map(after);
        let digest = secret::digest(token.as_bytes());
        let body = Body::Token(Token { role, digest, expires: expires.map(|end| end.0) });
        let action = Action::Put { name: name.to_owned(), body, base: Some(0) };
        let change = self.change(author, action, Need::of(alone)).await?;
        Ok(TokenMadeView {
            name: name.to_owned(),
            token,
            role: role.word().to_owned(),
            expires: expires.map(|end| end.to_string()),
            confirmed: change.confirmed,
        })
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// Why not.
    pub async fn revoke_token(&self, author: &Author, name: &str) -> Result<ChangeView, CommandError> {
        self.change(author, Action::Remove { kind: Kind::Token, name: name.to_owned() }, Need::Any).await
    }

    /// The last entries of the audit list behind that position, oldest first.
    pub fn audit(&self, after: Option<&str>, limit: usize) -> Vec<AuditView> {
        self.0.documents.read(|documents| {
            let place = after
                .and_then(|after| documents.audit().position(|entry| entry.position.to_string() == after));
            let begin = match place {
                Some(place) => place + 1,
                None => documents.audit().len().saturating_sub(limit),
            };
            documents
                .audit()
                .skip(begin)
                .take(limit)
                .map(|entry| AuditView {
                    position: entry.position.to_string(),
                    at: Timestamp(entry.time).to_string(),
                    author: entry.author.clone(),
                    origin: entry.origin.clone(),
                    text: entry.text.clone(),
                })
                .collect()
        })
    }

    async fn hash(&self, password: String) -> Result<twinhub_documents::PasswordHash, CommandError> {
        let letters = password.chars().count();
        if letters < secret::PASSWORD_LETTERS_MIN || password.len() > secret::PASSWORD_BYTES_MAX {
            let (min, max) = (secret::PASSWORD_LETTERS_MIN, secret::PASSWORD_BYTES_MAX);
            let what = format!("a password has at least {min} letters and at most {max} bytes");
            return Err(CommandError::BadValue { what });
        }
        self.busily(move || secret::hash_password(&password)).await
    }

    /// Runs what takes a processor and memory for a while on a thread for that, a few at a time.
    pub(super) async fn busily<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
    ) -> Result<T, CommandError> {
        let seats = self.0.documents.hashing();
        let seat = tokio::time::timeout(ANSWER_TIME_MAX, seats.acquire_owned()).await;
        let seat = seat.map_err(|_| CommandError::Busy)?.map_err(|_| CommandError::Stopping)?;
        let done = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            work()
        });
        done.await.map_err(|error| CommandError::Internal { why: error.to_string() })?
    }

    pub(super) fn check_active(&self) -> Result<(), CommandError> {
        let group = self.documents_group();
        match self.0.shared.group(group).active {
            Some(active) if active == self.0.shared.rank => Ok(()),
            Some(_) | None => Err(self.0.shared.not_active(group)),
        }
    }

    /// The group whose journal has the documents.
    pub(super) fn documents_group(&self) -> &str {
        self.site().groups.first().map_or("", |group| group.id.as_str())
    }

    pub(super) async fn change(
        &self,
        author: &Author,
        action: Action,
        need: Need,
    ) -> Result<ChangeView, CommandError> {
        // Logins come and go; whoever looks for them finds them in the audit list.
        let is_of_note = !matches!(
            &action,
            Action::Put { body: Body::Session(_), .. } | Action::Remove { kind: Kind::Session, .. }
        );
        let text = is_of_note.then(|| action.describe());
        let entry = Entry::Change(Change {
            author: author.name.clone(),
            origin: author.origin.clone(),
            time: clock::utc().0,
            action,
            alone: need == Need::Alone,
        });
        let Recorded { position, confirmed } = self.propose(entry, need == Need::Majority).await?;
        if let Some(text) = text {
            self.tell(Severity::Info, "TH-DOC-006", &format!("{} ({}) {text}", author.name, author.origin));
        }
        Ok(ChangeView { position: position.to_string(), confirmed })
    }

    /// An event for operators, about what nodes have in common.
    pub(super) fn tell(&self, severity: Severity, code: &str, text: &str) {
        let event = Event {
            severity,
            source: "documents".into(),
            code: code.into(),
            text: text.into(),
            at: clock::utc(),
        };
        self.0.shared.note_event(self.documents_group(), event);
    }

    /// Somebody at this address guesses passwords or join codes, and has to wait from here on.
    pub fn tell_of_guessing(&self, address: IpAddr, what: &str) {
        let text = format!("too many wrong {what} from {address}: it has to wait, longer each time");
        self.tell(Severity::Warning, "TH-AUTH-009", &text);
    }

    pub(super) async fn propose(&self, entry: Entry, majority: bool) -> Result<Recorded, CommandError> {
        self.check_active()?;
        let inbox = self.0.inboxes.get(self.documents_group()).ok_or(CommandError::Stopping)?;
        let seat = self.0.documents.proposals().try_acquire_owned().map_err(|_| CommandError::Busy)?;
        let (reply, answer) = oneshot::channel();
        inbox.push(Job::Propose(Box::new(Proposal { entry, majority, reply })));
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
        drop(seat);
        match answer {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CommandError::Stopping),
            Err(_) => Err(CommandError::Unconfirmed { seconds: ANSWER_TIME_MAX.as_secs() }),
        }
    }

    /// How much the nodes have in common beside values.
    pub(super) fn document_counts(&self) -> DocumentCounts {
        let now = clock::utc();
        self.0.documents.read(|documents| DocumentCounts {
            users: documents.list(Kind::User).count() as u64,
            tokens: documents.list(Kind::Token).count() as u64,
            sessions: documents.sessions().filter(|(_, session)| !session.has_ended(now)).count() as u64,
            revision: documents.configuration().map_or(0, |document| document.revision),
            conflicts: documents.conflicts().count() as u64,
        })
    }

    /// Whether anybody can log in.
    pub fn has_users(&self) -> bool {
        self.0.documents.read(|documents: &Documents| documents.list(Kind::User).next().is_some())
    }
}

/// Who must have a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A majority of the nodes, or it is not begun.
    Majority,
    /// This node, since whoever asked said so.
    Alone,
    /// As many as are there.
    Any,
}

impl Need {
    pub(super) const fn of(alone: bool) -> Need {
        if alone { Need::Alone } else { Need::Majority }
    }
}

fn after(duration: Duration) -> Timestamp {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Timestamp(clock::utc().0.saturating_add(nanos))
}
