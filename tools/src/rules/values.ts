/** What the API server and istiod refuse in objects that fit their schema. The checks themselves are in tools/src/schema. */
import { defectsOf } from "./rendering.ts";
import type { Rule } from "./rule.ts";

export const nameValid: Rule = {
  id: "name-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "The API server accepts all names, labels and keys",
  isLocal: true,
  explanation: `Most names are DNS names of up to 253 lower case letters; those of Namespaces, Services, containers, volumes and ports are labels of 63
or 15. Keys and values of labels have at most 63 letters, digits, dashes, dots and underscores; the value of a label may be empty. Looked at:
names, labels, keys of annotations, selectors, keys of ConfigMaps and Secrets, environment variables (tools/src/schema/fields.ts).`,
  check: (graph) => defectsOf(graph, "name-valid"),
};

export const valueValid: Rule = {
  id: "value-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "The API server accepts all numbers, quantities and combinations of fields",
  isLocal: true,
  explanation: `Kubernetes says in validation.go what no schema says: ports go from 1 to 65535, counts and quantities are not below 0, a Service with several
ports names each, a RoleBinding's group is rbac.authorization.k8s.io, a Deployment that could replace no pod is refused. The checks are a
list for the kinds that this platform uses (fields.ts, objects.ts and kinds.ts of tools/src/schema), not all of validation.go.`,
  check: (graph) => defectsOf(graph, "value-valid"),
};

export const scheduleValid: Rule = {
  id: "schedule-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Schedules have five fields and time zones exist",
  isLocal: true,
  explanation: `Read as Kubernetes reads a CronJob's schedule: minute, hour, day of the month, month and day of the week (0 to 6), with lists, ranges, steps
and the names of months and days, or @daily and its like. The time zone stands in timeZone and is one of the tz database, in its spelling.`,
  check: (graph) => defectsOf(graph, "schedule-valid"),
};

export const podValid: Rule = {
  id: "pod-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary:
    "Pods mount volumes that they have, request no more than their limits, and name each container once",
  isLocal: true,
  explanation: `Looked at in every pod template: volumeMounts without a volume, two mounts at one path, names of containers, volumes and ports that are there
twice, requests above limits, probes with none or several handlers, variables with two sources, a restartPolicy that the workload cannot
have. The API server refuses each of them.`,
  check: (graph) => defectsOf(graph, "pod-valid"),
};

export const meshValid: Rule = {
  id: "mesh-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "istiod accepts all durations, counts and hosts of the mesh",
  isLocal: true,
  explanation: `The rules that definitions of custom resources hold in the Common Expression Language are evaluated (timeout: "1" is no duration, 1s is), and
for Gateways, VirtualServices, DestinationRules, Sidecars and policies what istiod's webhook asks besides (mesh.ts and mesh-parts.ts of tools/src/schema). The
content of an EnvoyFilter's patch is Envoy's and is not looked at.`,
  check: (graph) => defectsOf(graph, "mesh-valid"),
};

export const argocdValid: Rule = {
  id: "argocd-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Argo CD reads what Applications, projects and annotations say",
  isLocal: true,
  explanation: `The API server takes them; Argo CD then reports InvalidSpecError or, worse, does as if they were not there: a sync wave that is no number
is wave 0, an option with another spelling or case is none, a hook of an unknown kind never runs. Looked at: sources, destinations, options,
retries and pointers of Applications, roles, policies and windows of AppProjects, and the annotations sync-wave, hook, hook-delete-policy,
sync-options and compare-options of every object (tools/src/schema/argocd.ts).`,
  check: (graph) => defectsOf(graph, "argocd-valid"),
};

export const prometheusValid: Rule = {
  id: "prometheus-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Prometheus takes all rules, templates and relabelings",
  isLocal: true,
  explanation: `The operator leaves a PrometheusRule out that Prometheus could not load, and with it every alert of the file; a monitor with a wrong
relabeling is left out as well. Looked at: names of rules and labels, templates of labels and annotations (brackets, ends, functions and
variables), actions, targets and regular expressions of relabelings, a scrapeTimeout above its interval (tools/src/schema/monitoring.ts).`,
  check: (graph) => defectsOf(graph, "prometheus-valid"),
};

export const entryOnce: Rule = {
  id: "entry-once",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "No list has an entry twice",
  isLocal: true,
  explanation: `Two ports with one number and protocol, two variables of one name, two groups of rules with one name: of a custom resource the API server
refuses them, of its own kinds it takes some and keeps the last, or the sync fails later. Which fields tell entries apart is what the
schema says (x-kubernetes-list-map-keys).`,
  check: (graph) => defectsOf(graph, "entry-once"),
};
