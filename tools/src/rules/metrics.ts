import { parser } from "@prometheus-io/lezer-promql";
import { distance } from "fastest-levenshtein";
import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import type { Graph } from "../graph.ts";
import { promqlFlaw } from "./promql.ts";
import type { Problem, Rule } from "./rule.ts";

/** Metrics of programs that the platform does not build, by exact name or by the prefix that an exporter uses. */
const exporters: RegExp[] = [
  // On the embedded cluster, bootstrap/embedded/src/renewal.ts writes this metric for the nodes' exporters.
  /^logging_platform_certificate_expiry_timestamp_seconds$/,
  /^(up|ALERTS|ALERTS_FOR_STATE|scrape_\w+)$/,
  /^istio_(requests_total|(request_duration_milliseconds|request_bytes|response_bytes)(_bucket|_sum|_count)?|build)$/,
  /^istio_(tcp_(sent|received)_bytes_total|tcp_connections_(opened|closed)_total|(request|response)_messages_total)$/,
  /^(envoy|pilot|citadel|galley|istio_agent|istiod|sidecar_injection)_\w+$/,
  /^(argocd|gitops|workqueue|rest_client|controller_runtime|grpc_server|grpc_client)_\w+$/,
  /^(apiserver|kubelet|kube|kubeproxy|container|machine|cadvisor|etcd|coredns|storage_operation|volume_manager|scheduler|authentication|kubernetes)_\w+$/,
  /^(prometheus|alertmanager|node|go|process|nodejs|promhttp|net_conntrack|reloader|otelcol|http_server|http_client|vl)_\w+$/,
];

export const metricExists: Rule = {
  id: "metric-exists",
  summary: "Every metric in a rule or a dashboard has an exporter",
  explanation: `An alert on a metric without an exporter never fires and never fails. The rule parses expressions of PrometheusRules and of dashboards
  (ConfigMaps labelled grafana_dashboard). Each metric must occur in a file under services/*/src that uses prom-client (for a histogram, with
  its suffixes), be recorded by a rule, begin with the namespace of a collector's Prometheus exporter, or belong to one of the exporters in
  tools/src/rules/metrics.ts. That list has only prefixes, except for Istio's metrics.`,
  check: (graph) => {
    const uses = graph
      .own()
      .flatMap((manifest) => [...ruleExpressions(manifest), ...dashboardExpressions(manifest)]);
    if (uses.length === 0) return [];
    const known = knownMetrics(graph);
    const prefixes = collectorPrefixes(graph);
    const exported = (metric: string): boolean =>
      known.has(metric) ||
      prefixes.some((prefix) => metric.startsWith(prefix)) ||
      exporters.some((pattern) => pattern.test(metric));
    return uses.flatMap(({ manifest, path, expression }): Problem[] => {
      const own = describeObject(manifest.object);
      const { metrics, error, flaw } = metricsOf(expression, manifest.object.kind === "PrometheusRule");
      if (error !== undefined) {
        return [
          {
            manifest,
            path,
            message: `${own}: invalid PromQL at character ${error + 1}: ${expression.trim()}`,
            fix: "correct the expression",
          },
        ];
      }
      if (flaw !== undefined)
        return [{ manifest, path, message: `${own}: ${flaw}`, fix: "correct the expression" }];
      return metrics
        .filter((metric) => !exported(metric))
        .map((metric) => ({
          manifest,
          path,
          message: `${own}: nothing exports ${metric}`,
          fix: suggestion(metric, known),
        }));
    });
  },
};

interface Use {
  manifest: Manifest;
  path: FieldPath;
  expression: string;
}

interface Group {
  rules?: { record?: string; alert?: string; expr?: string | number }[];
}

const groupsOf = ({ object }: Manifest): Group[] =>
  object.kind === "PrometheusRule" ? (object.spec?.groups ?? []) : [];

function ruleExpressions(manifest: Manifest): Use[] {
  return groupsOf(manifest).flatMap(({ rules = [] }, group) =>
    rules.flatMap(({ expr }, rule) =>
      expr === undefined
        ? []
        : [{ manifest, path: ["spec", "groups", group, "rules", rule, "expr"], expression: String(expr) }],
    ),
  );
}

function dashboardExpressions(manifest: Manifest): Use[] {
  const { kind, metadata, data } = manifest.object;
  if (kind !== "ConfigMap" || metadata.labels?.grafana_dashboard === undefined) return [];
  return Object.entries((data ?? {}) as Record<string, string>).flatMap(([key, text]) => {
    const found: string[] = [];
    const walk = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return;
      const { expr } = value as { expr?: unknown };
      if (typeof expr === "string") found.push(expr);
      for (const field of Object.values(value)) walk(field);
    };
    walk(readYaml<object>(new Map([["", text]]), ""));
    return found.map((expression) => ({
      manifest,
      path: ["data", key],
      expression: withoutVariables(expression),
    }));
  });
}

// Grafana's variables are not PromQL. In brackets they stand for a duration, elsewhere for a word.
const withoutVariables = (expression: string): string =>
  expression.replace(/\[\s*\$\{?\w+\}?/g, "[5m").replace(/\$\{?\w+(:\w+)?\}?/g, "x");

interface Parsed {
  metrics: string[];
  /** The position of the first syntax error. */
  error?: number;
  /** Why Prometheus would refuse the expression although its syntax is right. */
  flaw?: string;
}

// The same rules occur in several graphs, because each overlay that is tried on a cluster has its own graph.
const parsed = new Map<string, Parsed>();

/** The metrics that an expression reads, the position of a syntax error, and what is wrong with its types. */
export function metricsOf(expression: string, isRule = false): Parsed {
  const key = `${isRule} ${expression}`;
  const known = parsed.get(key);
  if (known) return known;
  const result = parse(expression, isRule);
  parsed.set(key, result);
  return result;
}

function parse(expression: string, isRule: boolean): Parsed {
  const metrics = new Set<string>();
  let error: number | undefined;
  const tree = parser.parse(expression);
  tree.iterate({
    enter: ({ type, from, to, node }) => {
      if (type.isError) error ??= from;
      if (type.name === "Identifier" && node.parent?.type.name === "VectorSelector")
        metrics.add(expression.slice(from, to));
    },
  });
  if (error !== undefined) return { metrics: [...metrics], error };
  const flaw = promqlFlaw(tree, expression, isRule);
  return { metrics: [...metrics], ...(flaw !== undefined && { flaw }) };
}

function knownMetrics(graph: Graph): Set<string> {
  const known = new Set<string>();
  const services = graph.layout?.services ?? "services";
  for (const [file, text] of graph.input.repository) {
    if (!file.startsWith(`${services}/`) || !/^[^/]+\/src\/.*\.ts$/.test(file.slice(services.length + 1)))
      continue;
    if (!/prom-client|new (Counter|Gauge|Histogram|Summary)\b/.test(text)) continue;
    // A name may be an argument of the service's own function, so every string that looks like a metric counts.
    for (const [, name = ""] of text.matchAll(/"([a-z][a-z0-9]*(?:_[a-z0-9]+)+)"/g)) {
      for (const suffix of ["", "_bucket", "_sum", "_count"]) known.add(name + suffix);
    }
  }
  for (const manifest of graph.ofKind("PrometheusRule")) {
    for (const { rules = [] } of groupsOf(manifest))
      for (const { record } of rules) if (record) known.add(record);
  }
  return known;
}

// An OpenTelemetry Collector puts its exporter's namespace in front of every metric.
function collectorPrefixes(graph: Graph): string[] {
  return graph.ofKind("ConfigMap").flatMap(({ object }) =>
    Object.values((object.data ?? {}) as Record<string, string>).flatMap((text) => {
      if (!text.includes("exporters:") || !text.includes("prometheus")) return [];
      const content = readYaml<{ exporters?: Record<string, { namespace?: string } | null> }>(
        new Map([["", text]]),
        "",
      );
      const exporters = Object.entries(content?.exporters ?? {}).filter(([name]) =>
        name.startsWith("prometheus"),
      );
      return exporters.flatMap(([, exporter]) => (exporter?.namespace ? `${exporter.namespace}_` : []));
    }),
  );
}

function suggestion(metric: string, known: Set<string>): string {
  const near = [...known]
    .map((name) => ({ name, distance: distance(name, metric) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return near && near.distance <= metric.length / 3
    ? `write ${near.name}`
    : "correct the name, or export it in services/*/src";
}
