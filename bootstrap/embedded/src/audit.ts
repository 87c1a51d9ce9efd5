/** The API server's audit log: who changed what, and who read a Secret. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { writeIfChanged } from "./files.ts";
import { state } from "./layout.ts";

export const auditPolicyFile = (): string => state("config", "audit-policy.json");
export const auditLog = (): string => state("log", "audit.log");

/** Most that the log takes: one file that is written, and the ones before. */
export const auditBounds = { megabytes: 20, files: 4, days: 30 };

/**
 * The policy. The first rule that matches counts; no rule keeps what a request or an answer contains, so that no Secret stands in
 * the log.
 */
export const auditPolicy = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  omitManagedFields: true,
  rules: [
    // Who is alive: several a second, for ever.
    { level: "None", resources: [{ group: "coordination.k8s.io", resources: ["leases"] }] },
    {
      level: "None",
      resources: [
        { group: "", resources: ["events"] },
        { group: "events.k8s.io", resources: ["events"] },
      ],
    },
    // What nodes and controllers report of objects that others have made.
    {
      level: "None",
      userGroups: ["system:nodes"],
      resources: [{ group: "", resources: ["nodes/status", "pods/status"] }],
    },
    {
      level: "None",
      userGroups: ["system:serviceaccounts:kube-system"],
      resources: [
        { group: "", resources: ["endpoints", "*/status"] },
        { group: "apps", resources: ["*/status"] },
        { group: "batch", resources: ["*/status"] },
        { group: "policy", resources: ["*/status"] },
        { group: "discovery.k8s.io", resources: ["endpointslices"] },
      ],
    },
    // What Argo CD has seen stands in the object itself, and istiod elects its leaders by ConfigMaps.
    {
      level: "None",
      users: ["system:serviceaccount:argocd:argocd-application-controller"],
      verbs: ["patch"],
      resources: [{ group: "argoproj.io", resources: ["applications"] }],
    },
    {
      level: "None",
      users: ["system:serviceaccount:istio-system:istiod"],
      verbs: ["update"],
      resources: [{ group: "", resources: ["configmaps"] }],
    },
    // Asks for a right and creates nothing.
    {
      level: "None",
      resources: [
        { group: "authorization.k8s.io", resources: ["subjectaccessreviews"] },
        { group: "authentication.k8s.io", resources: ["tokenreviews"] },
      ],
    },
    // A kubelet reads what its pods mount, and the Node authorizer gives it no other.
    {
      level: "None",
      userGroups: ["system:nodes"],
      verbs: ["get", "list", "watch"],
    },
    { level: "Metadata", resources: [{ group: "", resources: ["secrets", "serviceaccounts/token"] }] },
    {
      level: "Metadata",
      resources: [
        {
          group: "",
          resources: ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"],
        },
      ],
    },
    { level: "None", verbs: ["get", "list", "watch"] },
    { level: "None", nonResourceURLs: ["/*"] },
    { level: "Metadata" },
  ],
};

/** The API server's flags for it. */
export function auditFlags(): Record<string, string> {
  return {
    "audit-policy-file": auditPolicyFile(),
    "audit-log-path": auditLog(),
    "audit-log-maxsize": String(auditBounds.megabytes),
    // Those before the one that is written.
    "audit-log-maxbackup": String(auditBounds.files - 1),
    "audit-log-maxage": String(auditBounds.days),
  };
}

/** Writes the policy that the flags name, and makes the log. */
export function writeAuditPolicy(): void {
  writeIfChanged(auditPolicyFile(), JSON.stringify(auditPolicy, null, 2));
  mkdirSync(state("log"), { recursive: true });
  if (!existsSync(auditLog())) writeFileSync(auditLog(), "", { mode: 0o600 });
}
