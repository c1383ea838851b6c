//! The description of the interface, made from the handlers.

use utoipa::OpenApi;

use crate::api::{
    accounts, alarms, backups, cluster, configuration, deliveries, events, history, interfaces, items, join,
    merges, plugins, records, stream,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Twinhub",
        description = "Items, roles and events of a main/backup pair. Errors are problem+json with a stable code."
    ),
    paths(
        cluster::show,
        records::history,
        cluster::switchover,
        cluster::drain,
        cluster::shrink,
        cluster::grow,
        cluster::failover,
        cluster::pause,
        cluster::resume,
        cluster::resync,
        cluster::operation,
        cluster::node,
        cluster::test_node,
        interfaces::list,
        interfaces::one,
        interfaces::browse,
        interfaces::diag,
        interfaces::test,
        interfaces::discover,
        interfaces::monitor,
        interfaces::restart,
        interfaces::matrix,
        plugins::list,
        plugins::one,
        plugins::schema,
        plugins::upgrade,
        plugins::release,
        plugins::rollback,
        plugins::keep,
        items::list,
        items::read,
        items::write,
        items::write_bulk,
        history::history,
        alarms::list,
        alarms::acknowledge,
        alarms::shelve,
        alarms::unshelve,
        alarms::suppress,
        alarms::unsuppress,
        deliveries::list,
        deliveries::retry,
        deliveries::drop,
        merges::list,
        merges::one,
        events::list,
        events::stream,
        stream::values,
        configuration::show,
        configuration::files,
        configuration::revision,
        configuration::apply,
        configuration::roll_back,
        cluster::reload,
        cluster::restart,
        backups::list,
        backups::create,
        backups::download,
        join::make_code,
        join::join,
        join::plugin,
        accounts::login,
        accounts::logout,
        accounts::me,
        accounts::users,
        accounts::add_user,
        accounts::remove_user,
        accounts::set_role,
        accounts::set_password,
        accounts::tokens,
        accounts::create_token,
        accounts::revoke_token,
        accounts::audit,
    ),
    components(schemas(
        twinhub_runtime::view::BucketsView,
        twinhub_runtime::view::StreamFrame,
        twinhub_runtime::view::EventsFrame,
        twinhub_runtime::view::StreamItem,
        crate::problem::Problem
    ))
)]
struct Document;

/// The `OpenAPI` document.
pub fn document() -> serde_json::Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}
