//! The tables.

use twinhub_model::SampleFlags;

use crate::DatabaseError;
use crate::connect::{Line, Target};

/// The format of the tables that this version writes.
pub const FORMAT: i32 = 2;
/// No name of a schema is longer: `PostgreSQL` would cut it.
pub const SCHEMA_BYTES_MAX: usize = 63;
/// Two nodes that come at once make the tables one after the other.
const LOCK: i64 = 0x7477_696e_6875_6231;

/// What tables a connection writes into, by their whole names.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    pub(crate) items: String,
    pub(crate) history: String,
    pub(crate) progress: String,
}

impl Tables {
    fn of(schema: &str) -> Tables {
        let name = |table: &str| format!("{}.{table}", quoted(schema));
        Tables { items: name("items"), history: name("history"), progress: name("progress") }
    }
}

/// Makes what is not there, and looks whether it is ours.
pub(crate) async fn ensure(line: &mut Line, target: &Target) -> Result<Tables, DatabaseError> {
    const WHAT: &str = "to look for its tables";
    let schema = &target.schema;
    let format = format!("{}.format", quoted(schema));
    let client = &line.client;
    let known = "SELECT to_regclass($1) IS NOT NULL";
    let row = target.within(WHAT, client.query_one(known, &[&format])).await?;
    if !row.get::<_, bool>(0) {
        create(line, target).await?;
    }
    let query = format!("SELECT max(version)::integer FROM {format}");
    let row = target.within(WHAT, line.client.query_one(&query, &[])).await?;
    match row.get::<_, Option<i32>>(0) {
        Some(got) if got > FORMAT => Err(DatabaseError::Newer { schema: schema.clone(), got, known: FORMAT }),
        Some(got) if got < FORMAT => upgrade(line, target).await.map(|()| Tables::of(schema)),
        Some(_) | None => Ok(Tables::of(schema)),
    }
}

/// From format 1, whose marks did not name the journal that they are of. The key of its rows stays what it is: to make
/// another one of a large table takes long.
async fn upgrade(line: &mut Line, target: &Target) -> Result<(), DatabaseError> {
    const WHAT: &str = "to bring its tables to format 2, which their owner may";
    let schema = quoted(&target.schema);
    let change = format!(
        "ALTER TABLE {schema}.progress ADD COLUMN IF NOT EXISTS life text NOT NULL DEFAULT '';
        ALTER TABLE {schema}.progress DROP CONSTRAINT IF EXISTS progress_pkey;
        ALTER TABLE {schema}.progress ADD PRIMARY KEY (site, journal, life, epoch);
        UPDATE {schema}.format SET version = {FORMAT};"
    );
    let query = format!("SELECT max(version)::integer FROM {schema}.format");
    let changing = async {
        let work = line.client.transaction().await?;
        work.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        // Another node may have done it meanwhile.
        if work.query_one(&query, &[]).await?.get::<_, Option<i32>>(0) < Some(FORMAT) {
            work.batch_execute(&change).await?;
        }
        work.commit().await
    };
    target.within(WHAT, changing).await
}

async fn create(line: &mut Line, target: &Target) -> Result<(), DatabaseError> {
    const WHAT: &str = "to make its tables";
    let schema = quoted(&target.schema);
    let making = async {
        let work = line.client.transaction().await?;
        work.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        // Asked first: the right to make schemas is not needed where there is one.
        let row = work.query_one("SELECT to_regnamespace($1) IS NULL", &[&schema]).await?;
        if row.get::<_, bool>(0) {
            work.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        work.batch_execute(&definition(&schema)).await?;
        let query = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'";
        if work.query_one(query, &[]).await?.get::<_, i64>(0) > 0 {
            let query = format!(
                "SELECT create_hypertable('{schema}.history', 'source_time', if_not_exists => TRUE, migrate_data => TRUE)"
            );
            work.batch_execute(&query).await?;
        }
        work.commit().await
    };
    target.within(WHAT, making).await
}

fn definition(schema: &str) -> String {
    const TWIN: u32 = SampleFlags::TWIN.0;
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}.items (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            site text NOT NULL, key text NOT NULL, unit text NOT NULL, description text NOT NULL,
            UNIQUE (site, key));
        CREATE TABLE IF NOT EXISTS {schema}.history (
            item bigint NOT NULL, source_time timestamptz NOT NULL, nanos smallint NOT NULL,
            epoch bigint NOT NULL, sequence bigint NOT NULL, place integer NOT NULL,
            server_time timestamptz NOT NULL, quality bigint NOT NULL, flags integer NOT NULL, type text NOT NULL,
            number double precision, integer bigint, text text,
            PRIMARY KEY (item, source_time, nanos, epoch, sequence, place, server_time));
        CREATE TABLE IF NOT EXISTS {schema}.progress (
            site text NOT NULL, journal text NOT NULL, life text NOT NULL, epoch bigint NOT NULL,
            sequence bigint NOT NULL, node text NOT NULL, at timestamptz NOT NULL,
            PRIMARY KEY (site, journal, life, epoch));
        CREATE OR REPLACE VIEW {schema}.readings AS
            SELECT i.site, i.key, i.unit, h.source_time, h.quality >> 30 = 0 AS is_good, h.number, h.integer, h.text,
                h.type, h.quality, h.server_time
            FROM {schema}.history h JOIN {schema}.items i ON i.id = h.item WHERE h.flags & {TWIN} = 0;
        CREATE TABLE IF NOT EXISTS {schema}.format (version integer NOT NULL);
        INSERT INTO {schema}.format SELECT {FORMAT} WHERE NOT EXISTS (SELECT FROM {schema}.format);"
    )
}

/// A name as SQL takes it whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name() {
        assert_eq!(quoted("site\"; drop table x"), "\"site\"\"; drop table x\"");
    }
}
