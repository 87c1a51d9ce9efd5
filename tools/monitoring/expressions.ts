/** The expressions of rules and dashboards in Git, and the metrics and labels that they name. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import { load } from "js-yaml";
import { checkout as repository } from "../../lib/repository.ts";

/** A PromQL expression and where it stands: file and rule, or file and panel. */
export interface Expression {
  where: string;
  expression: string;
}

/** The folders that services have their own rules in. */
export const serviceRuleFolders = readdirSync(join(repository, "gitops/apps"))
  .map((app) => `gitops/apps/${app}/base/monitoring`)
  .filter((folder) => existsSync(join(repository, folder)));

/** The folders of the rules: those that all clusters share, those that a chart brings elsewhere, and services' own. */
export const ruleFolders = [
  "gitops/platform/monitoring/base/rules",
  "gitops/platform/monitoring/stack/embedded/rules",
  ...serviceRuleFolders,
];
const dashboards = "gitops/platform/monitoring/base/dashboards";

/** Metrics that are there only once something went wrong: a rule may name them, and a healthy cluster has none. */
export const onlyWhileWrong = [
  "kube_pod_container_status_waiting_reason",
  "kube_pod_init_container_status_waiting_reason",
  "kube_pod_container_status_last_terminated_reason",
  "kube_job_failed",
  "etcd_request_errors_total",
  "apiserver_request_terminations_total",
  "log_search_dropped_bytes_total",
  "log_search_shortened_lines_total",
  // Its client watches from the start, and lists only from an API server that streams no lists.
  "kube_state_metrics_list_total",
];

/** Every expression of the rules and dashboards in Git. */
export function expressions(checkout: string): Expression[] {
  const read = (folder: string, matches: RegExp): [string, string][] =>
    readdirSync(join(checkout, folder))
      .filter((file) => matches.test(file))
      .map((file) => [file, readFileSync(join(checkout, folder, file), "utf8")]);
  const ofRules = ruleFolders
    .flatMap((folder) => read(folder, /^prometheusrule/))
    .flatMap(([file, text]) => {
      const { spec } = load(text) as {
        spec: { groups: { rules: { record?: string; alert?: string; expr: string }[] }[] };
      };
      return spec.groups
        .flatMap((group) => group.rules)
        .map(({ record, alert, expr }) => ({ where: `${file} ${record ?? alert}`, expression: expr }));
    });
  const ofDashboards = read(dashboards, /\.json$/).flatMap(([file, text]) => {
    const { panels } = JSON.parse(text) as { panels: { title: string; targets?: { expr: string }[] }[] };
    return panels.flatMap(({ title, targets = [] }) =>
      // Grafana fills its variables in before Prometheus sees them.
      targets.map(({ expr }) => ({
        where: `${file} ${title}`,
        expression: expr.replaceAll("$__rate_interval", "5m"),
      })),
    );
  });
  return [...ofRules, ...ofDashboards];
}

/** A metric's name where it is selected, and the labels that are matched there. */
export interface Selector {
  metric: string;
  labels: string[];
}

/** The metrics that an expression selects, by Prometheus' own grammar. */
export function selectorsIn(expression: string): Selector[] {
  const found: Selector[] = [];
  const text = ({ from, to }: { from: number; to: number }): string => expression.slice(from, to);
  parser.parse(expression).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`no PromQL: ${expression}`);
      if (node.name === "VectorSelector") found.push({ metric: "", labels: [] });
      const selector = found.at(-1);
      if (selector === undefined) return;
      if (node.name === "Identifier") selector.metric = text(node);
      if (node.name === "LabelName" && node.matchContext(["LabelMatchers", "UnquotedLabelMatcher"]))
        selector.labels.push(text(node));
    },
  });
  return found;
}
