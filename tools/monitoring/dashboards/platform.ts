/** The platform's dashboard: the way of a log line from the gateway to the archive, and what it stands on. */
import { type Dashboard, figure, graph } from "./description.ts";

// What `npm run new -- service` makes lives in namespaces that begin like this.
const ofServices = 'reporter="source", destination_service_namespace=~"service-.+"';

const rateOf = (more = ""): string =>
  `sum by (destination_service_name) (rate(istio_requests_total{${ofServices}${more}}[5m]))`;

const everyLine = '{namespace="logging"}';

export const platform: Dashboard = {
  name: "platform",
  title: "Logging platform",
  rows: [
    {
      panels: [
        figure(
          "Alerts",
          "Alerts that fire, but the one that always does",
          "none",
          'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
        ),
        figure("Targets down", "What Prometheus cannot scrape", "none", "count(up == 0) or vector(0)"),
        figure(
          "Applications out of sync",
          "Where the cluster is not what Git says",
          "none",
          'count(argocd_app_info{sync_status!="Synced"}) or vector(0)',
        ),
        figure(
          "Lines not collected",
          "Acknowledged by the app and not yet seen by the agent",
          "none",
          "sum(pod:log_lines_missing:sum)",
        ),
        figure(
          "Newest archive",
          "Age of the newest complete archive",
          "s",
          "time() - max(log_archive_last_success_timestamp_seconds > 0)",
        ),
        figure(
          "Budget burn",
          "How many times too fast the error budget of POST /log is used up, over an hour",
          "none",
          'request_operation:istio_requests:error_ratio1h{request_operation="POST /log"} / on (request_operation) request_operation:error_budget:ratio',
        ),
      ],
    },
    {
      title: "1. At the gateway",
      panels: [
        graph("Requests", "By operation", "reqps", {
          "{{request_operation}}": "request_operation:istio_requests:rate5m",
        }),
        graph("Failed", "Share of 5xx", "percentunit", {
          "{{request_operation}}": "request_operation:istio_requests:error_ratio5m",
        }),
        graph("Time", "Mean, and what 99 of 100 stay below", "s", {
          "mean {{request_operation}}": "request_operation:istio_request_duration_seconds:mean5m",
          "p99 {{request_operation}}": "request_operation:istio_request_duration_seconds:p99_5m",
        }),
      ],
    },
    {
      title: "2. In the app",
      panels: [
        graph(
          "Lines written",
          "By result",
          "ops",
          {
            "{{result}}": "sum by (result) (rate(log_writes_total[$__rate_interval]))",
          },
          everyLine,
        ),
        graph("Time", "Mean by route, without what gateway and mesh add; and of the disk", "s", {
          "{{method}} {{route}}": "method_route:http_request_duration_seconds:mean5m",
          "fdatasync p99":
            "histogram_quantile(0.99, sum by (le) (rate(log_fsync_duration_seconds_bucket[$__rate_interval])))",
        }),
        graph("Waiting lines", "Lines in the queue of each pod", "none", { "{{pod}}": "log_queue_depth" }),
      ],
    },
    {
      title: "3. Collected by the agent",
      panels: [
        graph(
          "Lines",
          "Acknowledged by the app, collected by the agent",
          "ops",
          {
            acknowledged: "sum(rate(pod:log_lines_acknowledged:sum[5m]))",
            collected: "sum(rate(pod:log_lines_collected:sum[5m]))",
          },
          everyLine,
        ),
        graph(
          "Not collected",
          "Per pod",
          "none",
          { "{{pod}}": "pod:log_lines_missing:sum" },
          `${everyLine} | stats by (pod) count() lines`,
        ),
        graph("Delay", "From a line's writing to its collection: 99 of 100", "s", {
          p99: "histogram_quantile(0.99, sum by (le) (rate(log_agent_lag_seconds_bucket[$__rate_interval])))",
        }),
      ],
    },
    {
      title: "4. Archived",
      panels: [
        graph("Age", "Of the newest archive, and of the newest complete one", "s", {
          newest: "time() - max(log_archive_last_run_timestamp_seconds > 0)",
          complete: "time() - max(log_archive_last_success_timestamp_seconds > 0)",
        }),
        graph("Lines in it", "Of the newest archive: those that none had before", "none", {
          lines: "max(log_archive_lines)",
        }),
        graph("Room left", "On the archives' volume", "percentunit", {
          left: "min(log_archive_volume_free_bytes / log_archive_volume_size_bytes)",
        }),
        graph("Not archived yet", "Bytes of each node's store", "bytes", {
          "{{node}}": "log_store_unarchived_bytes",
        }),
        graph("Dropped unarchived", "Bytes in an hour, by what dropped them", "bytes", {
          "{{kind}}": "sum by (kind) (increase(log_archive_dropped_bytes_total[1h]))",
        }),
      ],
    },
    {
      title: "5. Found",
      panels: [
        graph(
          "Handed on",
          "Lines by node, to where they are searched",
          "ops",
          {
            "{{node}}": "sum by (node) (rate(log_search_lines_total[$__rate_interval]))",
          },
          everyLine,
        ),
        graph("Not found yet", "Bytes of each node's store that are not handed on", "bytes", {
          "{{node}}": "log_search_unread_bytes",
        }),
        graph("On disk", "What the lines take there", "bytes", {
          compressed: "sum(vl_data_size_bytes)",
        }),
      ],
    },
    {
      title: "Services beside it",
      panels: [
        graph("Requests", "To each service, as its callers' proxies count them", "reqps", {
          "{{destination_service_name}}": `sum by (destination_service_name) (rate(istio_requests_total{${ofServices}}[$__rate_interval]))`,
        }),
        graph("Failed", "Share of 5xx, by service", "percentunit", {
          "{{destination_service_name}}": `(${rateOf(', response_code=~"5.."')} or 0 * ${rateOf()}) / (${rateOf()} > 0)`,
        }),
        graph("Time", "What 99 of 100 stay below, by service", "s", {
          "{{destination_service_name}}": `histogram_quantile(0.99, sum by (destination_service_name, le) (rate(istio_request_duration_milliseconds_bucket{${ofServices}}[5m]))) / 1000`,
        }),
      ],
    },
    {
      title: "What it stands on",
      panels: [
        graph("Memory", "Resident, by what is scraped", "bytes", {
          "{{job}}": "sum by (job) (process_resident_memory_bytes)",
        }),
        graph("CPU", "Cores, by what is scraped", "none", {
          "{{job}}": "sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))",
        }),
        graph("Nodes", "Memory and disk in use", "percentunit", {
          "memory {{instance}}": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
          "disk {{instance}}":
            '1 - node_filesystem_avail_bytes{mountpoint="/", fstype!="tmpfs"} / node_filesystem_size_bytes{mountpoint="/", fstype!="tmpfs"}',
        }),
      ],
    },
  ],
};
