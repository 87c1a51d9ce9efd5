/** The API server's audit log. It records who changed what, and who read a Secret. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { writeIfChanged } from "./files.ts";
import { state } from "./layout.ts";

export const auditPolicyFile = (): string => state("config", "audit-policy.json");
export const auditLog = (): string => state("log", "audit.log");

/** The limits of the log. `files` counts the current file and the older ones. */
export const auditBounds = { megabytes: 20, files: 4, days: 30 };

/**
 * The audit policy. The first rule that matches applies. No rule logs the body of a request or a response, so that the log
 * never contains a Secret.
 */
export const auditPolicy = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  omitManagedFields: true,
  rules: [
    // Leases are renewed several times a second, for ever.
    { level: "None", resources: [{ group: "coordination.k8s.io", resources: ["leases"] }] },
    {
      level: "None",
      resources: [
        { group: "", resources: ["events"] },
        { group: "events.k8s.io", resources: ["events"] },
      ],
    },
    // Nodes and controllers report the status of objects that others have created.
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
    // Argo CD writes what it has seen into the Application itself, and istiod elects its leaders with ConfigMaps.
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
    // These requests ask about a permission and create nothing.
    {
      level: "None",
      resources: [
        { group: "authorization.k8s.io", resources: ["subjectaccessreviews"] },
        { group: "authentication.k8s.io", resources: ["tokenreviews"] },
      ],
    },
    // A kubelet reads the objects that its pods mount, and the Node authorizer allows it no others.
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

/** The API server's flags for the audit log. */
export function auditFlags(): Record<string, string> {
  return {
    "audit-policy-file": auditPolicyFile(),
    "audit-log-path": auditLog(),
    "audit-log-maxsize": String(auditBounds.megabytes),
    // This counts only the files before the current one.
    "audit-log-maxbackup": String(auditBounds.files - 1),
    "audit-log-maxage": String(auditBounds.days),
  };
}

/** Writes the policy that the flags name, and creates the log file. */
export function writeAuditPolicy(): void {
  writeIfChanged(auditPolicyFile(), JSON.stringify(auditPolicy, null, 2));
  mkdirSync(state("log"), { recursive: true });
  if (!existsSync(auditLog())) writeFileSync(auditLog(), "", { mode: 0o600 });
}
