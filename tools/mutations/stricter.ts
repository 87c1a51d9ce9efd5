/**
 * What is found on purpose although an API server accepts it: the object is stored, and something else goes wrong later.
 * A rule as a whole, or findings of one that look like a pattern; each with what goes wrong.
 */
export const stricter: readonly { rule: string; like?: RegExp; because: string }[] = [
  {
    rule: "application-policy",
    because: "Argo CD would leave behind, or not heal, what the repository says",
  },
  { rule: "argocd-valid", because: "Argo CD refuses it, or reads it as if it were not there" },
  { rule: "autoscaling", because: "two owners change one number" },
  { rule: "disruption-budget", because: "a drain takes every pod at once" },
  { rule: "entry-once", because: "the last of two entries wins, and server-side apply refuses both" },
  { rule: "fault-share", because: "Envoy ignores the header and delays every request" },
  { rule: "gateway-certificate", because: "the port answers nothing" },
  { rule: "image-pinned", because: "a tag means another image each day, or none" },
  { rule: "metric-exists", because: "the alert never fires" },
  { rule: "placeholder", because: "a cluster's own value is missing" },
  { rule: "pod-security", because: "the pods are refused when the workload makes them" },
  { rule: "port-exists", because: "nothing answers at that port" },
  { rule: "probes", because: "a rollout does not wait for the pods" },
  { rule: "prometheus-valid", because: "the operator leaves the rules or the monitor out" },
  { rule: "project-allows", because: "Argo CD refuses the sync" },
  { rule: "rbac-wildcard", because: "the role grants what does not exist yet" },
  { rule: "recommended-labels", because: "nobody finds the object" },
  { rule: "reference-resolves", because: "the pods wait for what is not there" },
  { rule: "resources", because: "a leak evicts the neighbours" },
  { rule: "route-resolves", because: "the mesh answers 404 or 503" },
  { rule: "selector-matches", because: "the selector picks nothing" },
  { rule: "single-owner", because: "two Applications take the object from each other" },
  { rule: "sync-order", because: "the first sync of a fresh cluster fails" },
  { rule: "name-valid", like: /jobTemplate\.metadata/, because: "the Job that the CronJob makes is refused" },
];

/** True for a finding, as a line, that is stricter than the server on purpose. */
export function isStricter(finding: string): boolean {
  return stricter.some(({ rule, like }) => finding.endsWith(`[${rule}]`) && (like?.test(finding) ?? true));
}
