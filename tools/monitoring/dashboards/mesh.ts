/** The mesh: who calls whom, how it goes, and what its proxies and istiod are at. */
import { type Dashboard, figure, graph } from "./description.ts";

const quantile = (share: string): string =>
  `histogram_quantile(${share}, sum by (destination_service_name, le) (rate(istio_request_duration_milliseconds_bucket{reporter="source"}[5m]))) / 1000`;

export const mesh: Dashboard = {
  name: "mesh",
  title: "Mesh",
  rows: [
    {
      panels: [
        figure("Proxies", "That Prometheus reaches", "none", 'sum(up{job="istio-proxies"})'),
        figure(
          "Requests",
          "In a second, as the callers' proxies count them",
          "reqps",
          'sum(rate(istio_requests_total{reporter="source"}[5m])) or vector(0)',
        ),
        figure(
          "Failed",
          "Share of 5xx within five minutes",
          "percentunit",
          '(sum(rate(istio_requests_total{reporter="source", response_code=~"5.."}[5m])) or vector(0)) / (sum(rate(istio_requests_total{reporter="source"}[5m])) > 0)',
        ),
        figure(
          "In plain text",
          "Requests that came without mutual TLS, within an hour",
          "none",
          'sum(increase(istio_requests_total{reporter="destination", connection_security_policy!="mutual_tls"}[1h])) or vector(0)',
        ),
        figure("Connected", "Proxies that istiod serves", "none", "sum(pilot_xds)"),
        figure(
          "Root certificate",
          "How long it is good for",
          "s",
          "max(citadel_server_root_cert_expiry_timestamp) - time()",
        ),
      ],
    },
    {
      title: "Requests",
      panels: [
        graph("By service", "As the callers' proxies count them", "reqps", {
          "{{destination_service_name}}":
            'sum by (destination_service_name) (rate(istio_requests_total{reporter="source"}[$__rate_interval]))',
        }),
        graph("By answer", "Its code, and why Envoy gave it", "reqps", {
          "{{response_code}} {{response_flags}}":
            'sum by (response_code, response_flags) (rate(istio_requests_total{reporter="source"}[$__rate_interval]))',
        }),
        graph("By caller", "Namespace and service account, as the called side knows them", "reqps", {
          "{{source_principal}}":
            'sum by (source_principal) (rate(istio_requests_total{reporter="destination"}[$__rate_interval]))',
        }),
        graph("Time: one of two", "What half of them stay below, by service", "s", {
          "{{destination_service_name}}": quantile("0.5"),
        }),
        graph("Time: 99 of 100", "What nearly all of them stay below, by service", "s", {
          "{{destination_service_name}}": quantile("0.99"),
        }),
        graph("Failed", "Share of 5xx, by service", "percentunit", {
          "{{destination_service_name}}":
            '(sum by (destination_service_name) (rate(istio_requests_total{reporter="source", response_code=~"5.."}[5m])) or 0 * sum by (destination_service_name) (rate(istio_requests_total{reporter="source"}[5m]))) / (sum by (destination_service_name) (rate(istio_requests_total{reporter="source"}[5m])) > 0)',
        }),
      ],
    },
    {
      title: "istiod",
      panels: [
        graph("Connected", "Proxies, by istiod", "none", { "{{pod}}": "pilot_xds" }),
        graph("Until a change arrives", "99 of 100 proxies", "s", {
          p99: "histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[5m])))",
        }),
        graph("Certificates", "Made for proxies, in a second", "ops", {
          made: "sum(rate(citadel_server_success_cert_issuance_count[$__rate_interval]))",
        }),
      ],
    },
  ],
};
