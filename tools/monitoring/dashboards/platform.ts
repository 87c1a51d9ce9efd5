/** The platform's dashboard: the way of a log line from the gateway to the archive, and what it stands on. */
import { type Dashboard, DashboardBuilder, RowBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as Timeseries } from "@grafana/grafana-foundation-sdk/timeseries";

/** Expressions by the legend of their series. */
type Queries = Record<string, string>;

const targets = (queries: Queries): DataqueryBuilder[] =>
  Object.entries(queries).map(([legend, expression], index) =>
    new DataqueryBuilder()
      .refId(String.fromCharCode("A".charCodeAt(0) + index))
      .expr(expression)
      .legendFormat(legend),
  );

/** A graph; three fit into a row. */
function graph(title: string, description: string, unit: string, queries: Queries): Timeseries {
  const panel = new Timeseries().title(title).description(description).unit(unit).min(0).span(8).height(7);
  return targets(queries).reduce((built, target) => built.withTarget(target), panel);
}

/** A number; six fit into a row. */
function figure(title: string, description: string, unit: string, expression: string): Stat {
  const panel = new Stat().title(title).description(description).unit(unit).span(4).height(4);
  return targets({ "": expression }).reduce((built, target) => built.withTarget(target.instant()), panel);
}

/** Builds the dashboard. */
export function platform(): Dashboard {
  return new DashboardBuilder("Logging platform")
    .uid("logging-platform")
    .tags(["generated"])
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .timezone("utc")
    .withPanel(
      figure(
        "Alerts",
        "Alerts that fire, but the one that always does",
        "none",
        'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
      ),
    )
    .withPanel(figure("Targets down", "What Prometheus cannot scrape", "none", "count(up == 0) or vector(0)"))
    .withPanel(
      figure(
        "Applications out of sync",
        "Where the cluster is not what Git says",
        "none",
        'count(argocd_app_info{sync_status!="Synced"}) or vector(0)',
      ),
    )
    .withPanel(
      figure(
        "Lines not collected",
        "Acknowledged by the app and not yet seen by the agent",
        "none",
        "sum(pod:log_lines_missing:sum)",
      ),
    )
    .withPanel(
      figure(
        "Newest archive",
        "Age of the newest complete archive",
        "s",
        "time() - max(log_archive_last_success_timestamp_seconds)",
      ),
    )
    .withPanel(
      figure(
        "Budget burn",
        "How many times too fast the error budget of POST /log is used up, over an hour",
        "none",
        'request_operation:istio_requests:error_ratio1h{request_operation="POST /log"} / on (request_operation) request_operation:error_budget:ratio',
      ),
    )
    .withRow(new RowBuilder("1. At the gateway"))
    .withPanel(
      graph("Requests", "By operation", "reqps", {
        "{{request_operation}}": "request_operation:istio_requests:rate5m",
      }),
    )
    .withPanel(
      graph("Failed", "Share of 5xx", "percentunit", {
        "{{request_operation}}": "request_operation:istio_requests:error_ratio5m",
      }),
    )
    .withPanel(
      graph("Time", "Mean, and what 99 of 100 stay below", "s", {
        "mean {{request_operation}}": "request_operation:istio_request_duration_seconds:mean5m",
        "p99 {{request_operation}}": "request_operation:istio_request_duration_seconds:p99_5m",
      }),
    )
    .withRow(new RowBuilder("2. In the app"))
    .withPanel(
      graph("Lines written", "By result", "ops", {
        "{{result}}": "sum by (result) (rate(log_writes_total[$__rate_interval]))",
      }),
    )
    .withPanel(
      graph("Time", "Mean by route, without what gateway and mesh add; and of the disk", "s", {
        "{{method}} {{route}}": "method_route:http_request_duration_seconds:mean5m",
        "fdatasync p99":
          "histogram_quantile(0.99, sum by (le) (rate(log_fsync_duration_seconds_bucket[$__rate_interval])))",
      }),
    )
    .withPanel(
      graph("Waiting lines", "Lines in the queue of each pod", "none", { "{{pod}}": "log_queue_depth" }),
    )
    .withRow(new RowBuilder("3. Collected by the agent"))
    .withPanel(
      graph("Lines", "Acknowledged by the app, collected by the agent", "ops", {
        acknowledged: "sum(rate(pod:log_lines_acknowledged:sum[5m]))",
        collected: "sum(rate(pod:log_lines_collected:sum[5m]))",
      }),
    )
    .withPanel(graph("Not collected", "Per pod", "none", { "{{pod}}": "pod:log_lines_missing:sum" }))
    .withPanel(
      graph("Delay", "From a line's writing to its collection: 99 of 100", "s", {
        p99: "histogram_quantile(0.99, sum by (le) (rate(log_agent_lag_seconds_bucket[$__rate_interval])))",
      }),
    )
    .withRow(new RowBuilder("4. Archived"))
    .withPanel(
      graph("Age", "Of the newest archive, and of the newest complete one", "s", {
        newest: "time() - max(log_archive_last_run_timestamp_seconds > 0)",
        complete: "time() - max(log_archive_last_success_timestamp_seconds > 0)",
      }),
    )
    .withPanel(
      graph("Lines in it", "Of the newest archive: those that none had before", "none", {
        lines: "max(log_archive_lines)",
      }),
    )
    .withPanel(
      graph("Room left", "On the archives' volume", "percentunit", {
        left: "min(log_archive_volume_free_bytes / log_archive_volume_size_bytes)",
      }),
    )
    .withPanel(
      graph("Not archived yet", "Bytes of each node's store", "bytes", {
        "{{node}}": "log_store_unarchived_bytes",
      }),
    )
    .withPanel(
      graph("Dropped unarchived", "Bytes in an hour, by what dropped them", "bytes", {
        "{{kind}}": "sum by (kind) (increase(log_archive_dropped_bytes_total[1h]))",
      }),
    )
    .withRow(new RowBuilder("What it stands on"))
    .withPanel(
      graph("Memory", "Resident, by what is scraped", "bytes", {
        "{{job}}": "sum by (job) (process_resident_memory_bytes)",
      }),
    )
    .withPanel(
      graph("CPU", "Cores, by what is scraped", "none", {
        "{{job}}": "sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))",
      }),
    )
    .withPanel(
      graph("Nodes", "Memory and disk in use", "percentunit", {
        "memory {{instance}}": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        "disk {{instance}}":
          '1 - node_filesystem_avail_bytes{mountpoint="/", fstype!="tmpfs"} / node_filesystem_size_bytes{mountpoint="/", fstype!="tmpfs"}',
      }),
    )
    .build();
}
