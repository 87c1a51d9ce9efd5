/** Checks of the Prometheus operator's webhook and of Prometheus for rules and monitors, beyond their schema. */
import type { KubernetesObject } from "../../../lib/object.ts";
import { below, defect, isEmpty, list, mapping, texts, type Value } from "./read.ts";
import { regexFlaw } from "./regex.ts";
import type { Defect } from "./validator.ts";

const flaw = (path: Defect["path"], message: string, fix: string): Defect =>
  defect(path, message, fix, "prometheus-valid");

const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

function rule(value: Value): Defect[] {
  const { alert, record, labels, annotations, expr } = value;
  const isAlert = !isEmpty(alert);
  if (isAlert === !isEmpty(record))
    return [flaw(["alert"], "needs either alert or record", "write one of them, and not both")];
  return [
    ...(String(expr ?? "").trim() === "" ? [flaw(["expr"], "is empty", "write an expression")] : []),
    ...(isAlert || metricName.test(String(record))
      ? []
      : [flaw(["record"], `${JSON.stringify(record)} is not a metric`, "write letters, digits, _ and :")]),
    ...(isAlert
      ? []
      : ["for", "keep_firing_for", "annotations"]
          .filter((field) => !isEmpty(value[field]))
          .map((field) => flaw([field], "is only for alerts", "remove it"))),
    ...Object.keys(mapping(labels))
      .filter((name) => !labelName.test(name) || name === "__name__")
      .map((name) => flaw(["labels", name], "is not a label name", "write letters, digits and _")),
    ...Object.keys(mapping(annotations))
      .filter((name) => !labelName.test(name))
      .map((name) => flaw(["annotations", name], "is not an annotation name", "write letters, digits and _")),
    ...Object.entries({ labels, annotations }).flatMap(([field, all]) =>
      Object.entries(mapping(all)).flatMap(([name, text]) => {
        const wrong = typeof text === "string" && isAlert ? templateFlaw(text) : undefined;
        return wrong ? [flaw([field, name], `is not a valid template: ${wrong}`, "correct it")] : [];
      }),
    ),
  ];
}

const action = /\{\{-?((?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|[^"`}]|\}(?!\}))*?)-?\}\}/gs;

// These are the functions of Go's text/template and of Prometheus.
const functions = new Set(
  "and or not len index slice print printf println html js urlquery call eq ne lt le gt ge query first value label strvalue args reReplaceAll safeHtml match title toUpper toLower graphLink tableLink sortByLabel stripPort stripDomain humanize humanize1024 humanizeDuration humanizePercentage humanizeTimestamp toTime toDuration now pathPrefix externalURL parseDuration urlQueryEscape tmpl true false nil".split(
    " ",
  ),
);
const words = new Set([
  "if",
  "else",
  "end",
  "range",
  "with",
  "define",
  "block",
  "template",
  "break",
  "continue",
]);

/** Says what is wrong with a template of an alert; undefined if nothing is found. */
export function templateFlaw(text: string): string | undefined {
  const rest = text.replace(action, "");
  if (rest.includes("{{")) return "{{ without }}";
  const open: string[] = [];
  const known = new Set(["$", "$labels", "$value", "$externalLabels", "$externalURL"]);
  for (const [, raw = ""] of text.matchAll(action)) {
    const body = raw.trim();
    if (body.startsWith("/*")) continue;
    const code = body.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`|'(?:[^'\\]|\\.)*'/g, '""');
    const [word = ""] = code.split(/[\s(]/);
    if (code === "") return "{{ }} is empty";
    for (const [, name = ""] of code.matchAll(/(\$\w*)\s*(?:,\s*(?=\$)|:?=)/g)) known.add(name);
    for (const [, name = ""] of code.matchAll(/,\s*(\$\w+)\s*:=/g)) known.add(name);
    for (const [name] of code.matchAll(/\$\w*/g)) if (!known.has(name)) return `there is no variable ${name}`;
    for (const [, name = ""] of code.matchAll(/(?<![.$\w"])([A-Za-z_]\w*)/g))
      if (!functions.has(name) && !words.has(name)) return `there is no function ${name}`;
    if (/\|\s*($|\|)/.test(code)) return "nothing follows |";
    if (["if", "range", "with", "define", "block"].includes(word)) open.push(word);
    if (word === "else" && open.length === 0) return "{{ else }} without {{ if }}";
    if (word === "end" && open.pop() === undefined) return "{{ end }} without {{ if }}, range or with";
  }
  return open.length > 0 ? `{{ ${open.at(-1)} }} without {{ end }}` : undefined;
}

const actions = new Set(
  "replace keep drop hashmod labelmap labeldrop labelkeep lowercase uppercase keepequal dropequal".split(" "),
);

function relabeling(value: Value): Defect[] {
  const { action: named = "replace", regex, targetLabel, modulus, sourceLabels } = value;
  const what = String(named).toLowerCase();
  const needsTarget = /^(replace|hashmod|lowercase|uppercase|keepequal|dropequal)$/.test(what);
  const wrong = typeof regex === "string" ? regexFlaw(regex) : undefined;
  const isTarget = what === "replace" ? /^([a-zA-Z_]|\$\{?\w+\}?)(\w|\$\{?\w+\}?)*$/ : labelName;
  return [
    ...(actions.has(what)
      ? []
      : [flaw(["action"], `there is no action ${named}`, "write a value such as keep")]),
    ...(wrong
      ? [flaw(["regex"], `${JSON.stringify(regex)} is not a valid regular expression (RE2)`, wrong)]
      : []),
    ...(needsTarget && isEmpty(targetLabel)
      ? [flaw(["targetLabel"], `is missing, but action ${named} needs it`, "write it")]
      : []),
    ...(needsTarget && !isEmpty(targetLabel) && !isTarget.test(String(targetLabel))
      ? [flaw(["targetLabel"], `${targetLabel} is not a label name`, "write letters, digits and _")]
      : []),
    ...(what === "hashmod" && !modulus
      ? [flaw(["modulus"], "is missing, but action hashmod needs it", "write 1 or more")]
      : []),
    ...texts(sourceLabels)
      .filter((name) => !labelName.test(name))
      .map((name) => flaw(["sourceLabels"], `${name} is not a label name`, "write letters, digits and _")),
  ];
}

/** The seconds of a duration in Prometheus' format, such as 1m30s. */
function secondsOf(text: unknown): number | undefined {
  if (typeof text !== "string" || !/^(\d+(ms|[smhdwy]))+$/.test(text)) return undefined;
  const sizes: Record<string, number> = {
    ms: 0.001,
    s: 1,
    m: 60,
    h: 3600,
    d: 86_400,
    w: 604_800,
    y: 31_536_000,
  };
  return [...text.matchAll(/(\d+)(ms|[smhdwy])/g)].reduce(
    (sum, [, count, unit = "s"]) => sum + Number(count) * (sizes[unit] ?? 0),
    0,
  );
}

function endpoint(value: Value): Defect[] {
  const { interval, scrapeTimeout, targetPort } = value;
  const [every = Number.POSITIVE_INFINITY, most = 0] = [secondsOf(interval), secondsOf(scrapeTimeout)];
  return [
    ...(most > every ? [flaw(["scrapeTimeout"], `is above interval, ${interval}`, "lower it")] : []),
    ...(typeof targetPort === "number" && (targetPort < 1 || targetPort > 65_535)
      ? [flaw(["targetPort"], `${targetPort} is not a port`, "write a number from 1 to 65535")]
      : []),
    ...["relabelings", "metricRelabelings"].flatMap((field) =>
      list(value[field]).flatMap((one, index) => below([field, index], relabeling(one))),
    ),
  ];
}

/** Finds what is wrong with a rule or a monitor of the Prometheus operator. */
export function monitoringFlaws({ apiVersion, kind, spec }: KubernetesObject): Defect[] {
  if (!apiVersion.startsWith("monitoring.coreos.com/")) return [];
  const { groups, endpoints, podMetricsEndpoints } = mapping(spec);
  if (kind === "PrometheusRule")
    return list(groups).flatMap(({ name, rules }, index) => [
      ...(isEmpty(name) ? [flaw(["spec", "groups", index, "name"], "is empty", "write it")] : []),
      ...list(rules).flatMap((one, place) => [
        ...below(["spec", "groups", index, "rules", place], rule(one)),
        ...(list(rules).findIndex((other) => sameRule(one, other)) < place
          ? [flaw(["spec", "groups", index, "rules", place], "is already in the list", "remove one of them")]
          : []),
      ]),
    ]);
  if (kind !== "ServiceMonitor" && kind !== "PodMonitor") return [];
  return Object.entries({ endpoints, podMetricsEndpoints }).flatMap(([field, all]) =>
    list(all).flatMap((one, index) => below(["spec", field, index], endpoint(one))),
  );
}

// Prometheus identifies a rule by these fields and its labels, and refuses a group that has the same rule twice.
const sameRule = (one: Value, other: Value): boolean =>
  ["alert", "record", "expr"].every((field) => String(one[field]) === String(other[field])) &&
  JSON.stringify(Object.entries(mapping(one.labels)).sort()) ===
    JSON.stringify(Object.entries(mapping(other.labels)).sort());
