/** Rules for what the API server and istiod refuse although the schema allows it. The checks are in tools/src/schema. */
import { defectsOf } from "./rendering.ts";
import type { Rule } from "./rule.ts";

export const nameValid: Rule = {
  id: "name-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "The API server accepts all names, labels and keys",
  isLocal: true,
  explanation: `Most names are DNS names of up to 253 lower case characters; those of Namespaces, Services, containers, volumes and ports are labels of up
  to 63 or 15. Keys and values of labels have at most 63 letters, digits, dashes, dots and underscores; the value of a label may be empty. The
  rule checks names, labels, keys of annotations, selectors, keys of ConfigMaps and Secrets, and environment variables
  (tools/src/schema/fields.ts).`,
  check: (graph) => defectsOf(graph, "name-valid"),
};

export const valueValid: Rule = {
  id: "value-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "The API server accepts all numbers, quantities and combinations of fields",
  isLocal: true,
  explanation: `Kubernetes checks some things in validation.go and not by its schema: ports go from 1 to 65535, counts and quantities are not below 0, a
  Service with several ports names each of them, a RoleBinding's group is rbac.authorization.k8s.io, a Deployment that could never replace a
  pod is refused. The rule has checks for the kinds that this platform uses (fields.ts, objects.ts and kinds.ts in tools/src/schema), but not
  for all of validation.go.`,
  check: (graph) => defectsOf(graph, "value-valid"),
};

export const scheduleValid: Rule = {
  id: "schedule-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Schedules have five fields and time zones exist",
  isLocal: true,
  explanation: `The rule reads a CronJob's schedule as Kubernetes does: minute, hour, day of the month, month and day of the week (0 to 6), with lists,
  ranges, steps and the names of months and days, or a macro such as @daily. The time zone belongs into timeZone, and must be a name from the tz
  database in its exact spelling.`,
  check: (graph) => defectsOf(graph, "schedule-valid"),
};

export const podValid: Rule = {
  id: "pod-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary:
    "Pods mount only volumes that they have, request no more than their limits, and name each container once",
  isLocal: true,
  explanation: `In every pod template the rule finds volumeMounts without a volume, two mounts at the same path, duplicate names of containers, volumes and
  ports, requests above limits, probes with no handler or several, variables with two sources, and a restartPolicy that the workload cannot
  have. The API server refuses each of them.`,
  check: (graph) => defectsOf(graph, "pod-valid"),
};

export const meshValid: Rule = {
  id: "mesh-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "istiod accepts all durations, counts and hosts of the mesh",
  isLocal: true,
  explanation: `The rule evaluates the expressions (Common Expression Language) in definitions of custom resources: for example, timeout: "1" is not a
  duration, but 1s is. For Gateways, VirtualServices, DestinationRules, Sidecars and policies it also checks what istiod's webhook requires
  (mesh.ts and mesh-parts.ts in tools/src/schema). It does not check the content of an EnvoyFilter's patch, which only Envoy understands.`,
  check: (graph) => defectsOf(graph, "mesh-valid"),
};

export const argocdValid: Rule = {
  id: "argocd-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Argo CD accepts all settings in Applications, projects and annotations",
  isLocal: true,
  explanation: `The API server accepts wrong settings. Argo CD then reports InvalidSpecError or, worse, ignores them: a sync wave that is not a number counts
  as wave 0, an option with another spelling or case has no effect, a hook of an unknown kind never runs. The rule checks sources,
  destinations, options, retries and pointers of Applications, roles, policies and windows of AppProjects, and the annotations sync-wave, hook,
  hook-delete-policy, sync-options and compare-options of every object (tools/src/schema/argocd.ts).`,
  check: (graph) => defectsOf(graph, "argocd-valid"),
};

export const prometheusValid: Rule = {
  id: "prometheus-valid",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Prometheus accepts all rules, templates and relabelings",
  isLocal: true,
  explanation: `The operator omits a PrometheusRule that Prometheus could not load, with every alert in the file. It also omits a monitor with a wrong
  relabeling. The rule checks names of rules and labels, templates of labels and annotations (brackets, ends, functions and variables), actions,
  targets and regular expressions of relabelings, and a scrapeTimeout above its interval (tools/src/schema/monitoring.ts).`,
  check: (graph) => defectsOf(graph, "prometheus-valid"),
};

export const entryOnce: Rule = {
  id: "entry-once",
  isOfArgocd: true,
  isOfFiles: true,
  summary: "No list has duplicate entries",
  isLocal: true,
  explanation: `Examples are two ports with the same number and protocol, two variables or two groups of rules with the same name. The API server refuses
  them in custom resources. In its own kinds it accepts some and keeps the last one, or the sync fails later. The schema says which fields
  distinguish entries (x-kubernetes-list-map-keys).`,
  check: (graph) => defectsOf(graph, "entry-once"),
};
