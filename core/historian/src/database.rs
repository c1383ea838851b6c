//! A connection to a database, and what is written through it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use twinhub_history::{Mark, Row};
use twinhub_model::{Epoch, Position, Quality, SampleFlags, Timestamp, Value};

use crate::columns::{Columns, without_nul};
use crate::connect::{Line, Target};
use crate::schema::{self, Tables};
use crate::{DatabaseError, Progress};

/// An item that is tried and never kept.
const PROBE_KEY: &str = "twinhub/probe";

/// What people read of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemText {
    /// Unit of measurement.
    pub unit: String,
    /// What it is.
    pub description: String,
}

/// What became of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that were not there before.
    pub new: u64,
    /// Rows that were there, or came twice.
    pub known: u64,
    /// Rows that the database does not take, whatever one does.
    pub refused: u64,
    /// Why, of the last of them.
    pub refusal: Option<String>,
}

/// A database of ours.
pub struct Database {
    target: Target,
    site: String,
    node: String,
    line: Line,
    tables: Tables,
    insert: Statement,
    /// What is a twin is not shown, if it was there before.
    mark: Statement,
    texts: Arc<HashMap<Box<str>, ItemText>>,
    /// Numbers of items; `None` if the database does not take the key.
    items: HashMap<Arc<str>, Option<i64>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("target", &self.target).finish_non_exhaustive()
    }
}

/// What is written at once.
struct Batch<'a> {
    rows: &'a [(Arc<str>, Row)],
    marks: &'a [Mark],
}

impl Database {
    /// Connects, and makes the tables if there are none.
    ///
    /// # Errors
    /// [`DatabaseError`]: no connection, no right, or tables of a newer version.
    pub async fn connect(
        target: &Target,
        site: &str,
        node: &str,
        texts: Arc<HashMap<Box<str>, ItemText>>,
    ) -> Result<Database, DatabaseError> {
        const WHAT: &str = "to begin";
        let mut line = target.connect().await?;
        let limit = target.patience.as_millis();
        // What nobody waits for any more ends on the server, too, and holds no locks.
        let limits = format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {limit}"
        );
        target.within(WHAT, line.client.batch_execute(&limits)).await?;
        let tables = schema::ensure(&mut line, target).await?;
        let insert = format!(
            "INSERT INTO {} (item, source_time, nanos, epoch, sequence, place, server_time, quality, flags, type, \
             number, integer, text) \
             SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], $4::bigint[], $5::bigint[], \
             $6::integer[], $7::timestamptz[], $8::bigint[], $9::integer[], $10::text[], $11::float8[], \
             $12::bigint[], $13::text[]) ON CONFLICT DO NOTHING",
            tables.history
        );
        // Behind an insert: what another node wrote meanwhile is seen, too.
        let mark = format!(
            "UPDATE {} AS h SET flags = h.flags | {TWIN} FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], \
             $4::bigint[], $5::bigint[], $6::integer[]) AS m (item, source_time, nanos, epoch, sequence, place) \
             WHERE h.item = m.item AND h.source_time = m.source_time AND h.nanos = m.nanos AND h.epoch = m.epoch \
             AND h.sequence = m.sequence AND h.place = m.place AND h.flags & {TWIN} = 0",
            tables.history,
            TWIN = SampleFlags::TWIN.0
        );
        let insert = target.within(WHAT, line.client.prepare(&insert)).await?;
        let mark = target.within(WHAT, line.client.prepare(&mark)).await?;
        Ok(Database {
            target: target.clone(),
            site: without_nul(site),
            node: without_nul(node),
            line,
            tables,
            insert,
            mark,
            texts,
            items: HashMap::new(),
        })
    }

    /// What the database has of this site.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn progress(&self) -> Result<Progress, DatabaseError> {
        let query =
            format!("SELECT journal, life, epoch, sequence FROM {} WHERE site = $1", self.tables.progress);
        let site: [&(dyn ToSql + Sync); 1] = [&self.site];
        let rows = self.line.client.query(&query, &site);
        let rows = self.target.within("to say how far it is", rows).await?;
        let mut progress = Progress::default();
        for row in rows {
            let epoch = Epoch(row.get::<_, i64>(2).cast_unsigned());
            let at = Position::new(epoch, row.get::<_, i64>(3).cast_unsigned());
            progress.note(&Mark { group: row.get(0), life: row.get(1), at });
        }
        Ok(progress)
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.target.within("to answer", self.line.client.batch_execute("SELECT 1")).await
    }

    /// Writes rows, and then that everything is there up to the `marks`: in one transaction, or, where rows have to be
    /// left out, in several with the marks in the last.
    ///
    /// # Errors
    /// [`DatabaseError`] if it is away, or takes nothing at all: all of these rows are refused, and a plain one, too. The
    /// marks are not written then; writing all of it again is right.
    pub async fn write(
        &mut self,
        rows: &[(Arc<str>, Row)],
        marks: &[Mark],
    ) -> Result<Written, DatabaseError> {
        let mut written = Written::default();
        self.number_items(rows, &mut written).await?;
        let mut parts = vec![Batch { rows, marks }];
        while let Some(part) = parts.pop() {
            if !part.rows.iter().any(|(key, _)| self.number(key).is_some()) {
                let is_refused = written.new + written.known == 0 && written.refused > 0;
                if let Some((_, row)) = rows.last().filter(|_| is_refused && parts.is_empty()) {
                    self.probe(row.server).await?;
                }
                if part.marks.is_empty() {
                    continue;
                }
            }
            match self.write_part(&part).await {
                Ok((new, sent)) => {
                    written.new += new;
                    written.known += sent.saturating_sub(new);
                }
                Err(error) if error.is_about_data() && part.rows.len() > 1 => {
                    let (one, two) = part.rows.split_at(part.rows.len() / 2);
                    parts.push(Batch { rows: two, marks: part.marks });
                    parts.push(Batch { rows: one, marks: &[] });
                }
                Err(error) if error.is_about_data() && part.rows.len() == 1 => {
                    written.refused += 1;
                    written.refusal =
                        Some(format!("{}: {error}", part.rows.first().map_or("", |(key, _)| &**key)));
                    parts.push(Batch { rows: &[], marks: part.marks });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// One transaction; returns how many rows were new, and how many were sent.
    async fn write_part(&mut self, part: &Batch<'_>) -> Result<(u64, u64), DatabaseError> {
        const WHAT: &str = "to take rows";
        let mut order: Vec<(i64, &Row)> =
            part.rows.iter().filter_map(|(key, row)| Some((self.number(key)?, row))).collect();
        // Two nodes that write the same rows wait for each other in one order.
        order.sort_by_key(|(item, row)| (*item, row.id()));
        let mut distinct: Vec<i64> = order.iter().map(|(item, _)| *item).collect();
        distinct.dedup();
        let (mut columns, mut twins) = (Columns::default(), Columns::default());
        for (item, row) in order.iter().filter(|(_, row)| row.is_shown()) {
            columns.push(*item, row);
        }
        order.retain(|(_, row)| !row.is_shown());
        for (item, row) in &order {
            twins.push(*item, row);
        }
        let (tables, site, node) = (&self.tables, &self.site, &self.node);
        let (insert, mark) = (&self.insert, &self.mark);
        let client = &mut self.line.client;
        let writing = async {
            let work = client.transaction().await?;
            let mut new = 0;
            if !distinct.is_empty() {
                let query = format!("SELECT count(*) FROM {} WHERE id = ANY($1)", tables.items);
                if work.query_one(&query, &[&distinct]).await?.get::<_, i64>(0) != as_count(distinct.len()) {
                    return Ok(None);
                }
            }
            for columns in [&columns, &twins].into_iter().filter(|columns| !columns.items.is_empty()) {
                new += work.execute(insert, &columns.parameters()).await?;
            }
            if !twins.items.is_empty() {
                new += work.execute(mark, &twins.key_parameters()).await?;
            }
            if !part.marks.is_empty() {
                let mut marks: Vec<&Mark> = part.marks.iter().collect();
                marks.sort();
                let query = format!(
                    "INSERT INTO {} AS p (site, journal, life, epoch, sequence, node, at) \
                     VALUES ($1, $2, $3, $4, $5, $6, now()) ON CONFLICT (site, journal, life, epoch) DO UPDATE \
                     SET sequence = greatest(p.sequence, excluded.sequence), node = excluded.node, at = excluded.at",
                    tables.progress
                );
                for Mark { group, life, at } in marks {
                    let (group, life) = (without_nul(group), without_nul(life));
                    let (epoch, seq) = (at.epoch.0.cast_signed(), at.seq.cast_signed());
                    work.execute(&query, &[site, &group, &life, &epoch, &seq, node]).await?;
                }
            }
            work.commit().await?;
            Ok(Some(new))
        };
        if let Some(new) = self.target.within(WHAT, writing).await? {
            return Ok((new, (columns.items.len() + twins.items.len()) as u64));
        }
        // Somebody removed items: they get new numbers with the next connection.
        self.items.clear();
        Err(DatabaseError::Connection { what: WHAT, message: "items were removed from its table".to_owned() })
    }

    /// The number of an item, if the database takes it.
    fn number(&self, key: &str) -> Option<i64> {
        self.items.get(key).copied().flatten()
    }

    /// Tries whether it takes a plain row of a plain item, and takes both back.
    async fn probe(&mut self, at: Timestamp) -> Result<(), DatabaseError> {
        let mut columns = Columns::default();
        let insert_item = format!(
            "INSERT INTO {} (site, key, unit, description) VALUES ($1, $2, '', '') \
             ON CONFLICT (site, key) DO UPDATE SET key = excluded.key RETURNING id",
            self.tables.items
        );
        let (site, insert, client) = (&self.site, &self.insert, &mut self.line.client);
        let trying = async {
            let work = client.transaction().await?;
            let item = work.query_one(&insert_item, &[site, &PROBE_KEY]).await?.get(0);
            let (value, quality, flags) = (Value::I64(1), Quality::GOOD, SampleFlags::default());
            let row =
                Row { source: at, server: at, value, quality, flags, position: Position::START, place: 0 };
            columns.push(item, &row);
            work.execute(insert, &columns.parameters()).await?;
            work.rollback().await
        };
        let tried = self.target.within("every value", trying).await;
        if tried.is_err() {
            // Its keys, too, are tried again.
            self.items.retain(|_, number| number.is_some());
        }
        tried
    }

    /// Finds or makes the numbers of items that have none yet.
    async fn number_items(
        &mut self,
        rows: &[(Arc<str>, Row)],
        written: &mut Written,
    ) -> Result<(), DatabaseError> {
        let new: BTreeSet<&Arc<str>> =
            rows.iter().map(|(key, _)| key).filter(|key| !self.items.contains_key(*key)).collect();
        let new: Vec<Arc<str>> = new.into_iter().cloned().collect();
        let mut parts = if new.is_empty() { Vec::new() } else { vec![new.as_slice()] };
        while let Some(part) = parts.pop() {
            match self.number_some(part).await {
                Ok(()) => {}
                Err(error) if error.is_about_data() => match part {
                    [key] => {
                        written.refusal = Some(format!("{key}: {error}"));
                        self.items.insert(Arc::clone(key), None);
                    }
                    several => {
                        let (one, two) = several.split_at(several.len() / 2);
                        parts.extend([two, one]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        let refused = rows.iter().filter(|(key, _)| self.items.get(key) == Some(&None)).count();
        written.refused += refused as u64;
        if refused > 0 && written.refusal.is_none() {
            written.refusal = Some("it does not take the keys of some items".to_owned());
        }
        Ok(())
    }

    async fn number_some(&mut self, keys: &[Arc<str>]) -> Result<(), DatabaseError> {
        const WHAT: &str = "to take items";
        let none = ItemText::default();
        let names: Vec<String> = keys.iter().map(|key| without_nul(key)).collect();
        let texts: Vec<&ItemText> = keys.iter().map(|key| self.texts.get(&**key).unwrap_or(&none)).collect();
        let units: Vec<String> = texts.iter().map(|text| without_nul(&text.unit)).collect();
        let descriptions: Vec<String> = texts.iter().map(|text| without_nul(&text.description)).collect();
        let insert = format!(
            "INSERT INTO {} AS i (site, key, unit, description) \
             SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[]) ON CONFLICT (site, key) DO UPDATE \
             SET unit = excluded.unit, description = excluded.description \
             WHERE (i.unit, i.description) IS DISTINCT FROM (excluded.unit, excluded.description)",
            self.tables.items
        );
        let select = format!("SELECT key, id FROM {} WHERE site = $1 AND key = ANY($2)", self.tables.items);
        let site = &self.site;
        let client = &mut self.line.client;
        let writing = async {
            let work = client.transaction().await?;
            work.execute(&insert, &[site, &names, &units, &descriptions]).await?;
            let rows = work.query(&select, &[site, &names]).await?;
            work.commit().await?;
            Ok(rows)
        };
        let rows = self.target.within(WHAT, writing).await?;
        let found: HashMap<&str, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (key, name) in keys.iter().zip(&names) {
            self.items.insert(Arc::clone(key), found.get(name.as_str()).copied());
        }
        Ok(())
    }
}

fn as_count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
