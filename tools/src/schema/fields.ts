/** Checks of single fields beyond their types. The API server makes them in validation.go, and its schema lacks them. */

import type { Format } from "./formats.ts";
import * as formats from "./formats.ts";
import { scheduleFlaw, timeZoneFlaw } from "./schedules.ts";

/** The rule that reports a defect. */
export type CheckRule =
  | "name-valid"
  | "value-valid"
  | "schedule-valid"
  | "pod-valid"
  | "mesh-valid"
  | "argocd-valid"
  | "prometheus-valid"
  | "entry-once";

/** A check of a field: of its value, of each of its elements or values, or of each of its keys. */
export interface FieldCheck {
  rule: CheckRule;
  of: "value" | "elements" | "keys";
  format: Format;
}

type Fields = Record<string, Record<string, FieldCheck[]>>;

const names = (format: Format, of: FieldCheck["of"] = "value"): FieldCheck => ({
  rule: "name-valid",
  of,
  format,
});
const values = (format: Format, of: FieldCheck["of"] = "value"): FieldCheck => ({
  rule: "value-valid",
  of,
  format,
});
const labels = [names(formats.labelKey, "keys"), names(formats.labelValue, "elements")];
const quantities = [values(formats.amount, "elements")];
const notNegative = [values(formats.notNegative)];
const positive = [values(formats.positive)];
const port = [values(formats.port)];
const portNumber = [values(formats.portNumber)];
const notEmpty = [values(formats.notEmpty)];
const fileMode = [values(formats.fileMode)];
const keys = [names(formats.configKey, "keys")];
const ids = [values(formats.userId)];
const countOrShare = [values(formats.countOrShare)];
const each = (fields: string[], checks: FieldCheck[]): Record<string, FieldCheck[]> =>
  Object.fromEntries(fields.map((field) => [field, checks]));

const schedule: FieldCheck = {
  rule: "schedule-valid",
  of: "value",
  format: (value) => {
    const flaw = scheduleFlaw(String(value));
    return flaw && `${flaw}; write five fields such as */10 * * * *`;
  },
};
const timeZone: FieldCheck = {
  rule: "schedule-valid",
  of: "value",
  format: (value) => timeZoneFlaw(String(value)),
};

// The names of the definitions lack the prefix io.k8s.api.
const table: Fields = {
  "meta.v1.ObjectMeta": {
    labels,
    annotations: [names(formats.annotationKey, "keys")],
    finalizers: [names(formats.labelKey, "elements")],
    namespace: [names(emptyOr(formats.dnsLabel))],
  },
  "meta.v1.LabelSelector": { matchLabels: labels },
  "meta.v1.LabelSelectorRequirement": {
    key: [names(formats.labelKey)],
    values: [names(formats.labelValue, "elements")],
  },
  "core.v1.NodeSelectorRequirement": { key: [names(formats.labelKey)] },
  "core.v1.PodSpec": {
    nodeSelector: labels,
    activeDeadlineSeconds: positive,
    serviceAccountName: [names(emptyOr(formats.dnsSubdomain))],
    priorityClassName: [names(emptyOr(formats.dnsSubdomain))],
    hostname: [names(emptyOr(formats.dnsLabel))],
    subdomain: [names(emptyOr(formats.dnsLabel))],
    nodeName: [names(emptyOr(formats.dnsSubdomain))],
    runtimeClassName: [names(emptyOr(formats.dnsSubdomain))],
  },
  "core.v1.PodSecurityContext": {
    ...each(["runAsUser", "runAsGroup", "fsGroup"], ids),
    supplementalGroups: [values(formats.userId, "elements")],
  },
  "core.v1.SecurityContext": each(["runAsUser", "runAsGroup"], ids),
  "core.v1.Container": { name: [names(formats.dnsLabel)], image: [values(trimmed)] },
  "core.v1.EnvFromSource": { prefix: [names(emptyOr(formats.environmentName))] },
  "core.v1.ContainerPort": {
    containerPort: portNumber,
    hostPort: [values(formats.portOrNone)],
    name: [names(emptyOr(formats.portName))],
  },
  "core.v1.EnvVar": { name: [names(formats.environmentName)] },
  "core.v1.VolumeMount": { mountPath: notEmpty, name: notEmpty },
  "core.v1.HTTPGetAction": { port },
  "core.v1.TCPSocketAction": { port },
  "core.v1.GRPCAction": { port: portNumber },
  "core.v1.Probe": {
    ...each(
      ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"],
      notNegative,
    ),
    terminationGracePeriodSeconds: positive,
  },
  "core.v1.ResourceRequirements": { requests: quantities, limits: quantities },
  "core.v1.VolumeResourceRequirements": { requests: quantities, limits: quantities },
  "core.v1.Volume": { name: [names(formats.dnsLabel)] },
  "core.v1.ConfigMapVolumeSource": { defaultMode: fileMode },
  "core.v1.SecretVolumeSource": { defaultMode: fileMode },
  "core.v1.ProjectedVolumeSource": { defaultMode: fileMode },
  "core.v1.ConfigMapProjection": { name: notEmpty },
  "core.v1.SecretProjection": { name: notEmpty },
  "core.v1.ConfigMapEnvSource": { name: [names(emptyOr(formats.dnsSubdomain))] },
  "core.v1.SecretEnvSource": { name: [names(emptyOr(formats.dnsSubdomain))] },
  "core.v1.ConfigMapKeySelector": {
    key: [names(formats.configKey)],
    name: [names(emptyOr(formats.dnsSubdomain))],
  },
  "core.v1.SecretKeySelector": {
    key: [names(formats.configKey)],
    name: [names(emptyOr(formats.dnsSubdomain))],
  },
  "core.v1.KeyToPath": { key: notEmpty, path: [...notEmpty, values(inside)], mode: fileMode },
  "core.v1.ServiceAccountTokenProjection": {
    path: notEmpty,
    expirationSeconds: [values((value) => (Number(value) < 600 ? "write at least 600 seconds" : undefined))],
  },
  "core.v1.HostPathVolumeSource": { path: [...notEmpty, values(inside)] },
  "core.v1.PersistentVolumeClaimVolumeSource": { claimName: notEmpty },
  "core.v1.EmptyDirVolumeSource": { sizeLimit: [values(formats.amount)] },
  "core.v1.TopologySpreadConstraint": {
    maxSkew: positive,
    minDomains: positive,
    topologyKey: [names(formats.labelKey)],
  },
  "core.v1.PodAffinityTerm": { topologyKey: [names(formats.labelKey)] },
  "core.v1.WeightedPodAffinityTerm": { weight: [values(weight)] },
  "core.v1.PreferredSchedulingTerm": { weight: [values(weight)] },
  "core.v1.Toleration": { key: [names(emptyOr(formats.labelKey))], value: [names(formats.labelValue)] },
  "core.v1.HostAlias": {
    ip: [values(formats.address)],
    hostnames: [names(formats.dnsSubdomain, "elements")],
  },
  "core.v1.PodReadinessGate": { conditionType: [names(formats.labelKey)] },
  "core.v1.PodSchedulingGate": { name: [names(formats.labelKey)] },
  "core.v1.CSIVolumeSource": { driver: notEmpty },
  "apps.v1.StatefulSetOrdinals": { start: notNegative },
  "core.v1.ConfigMap": { data: keys, binaryData: [...keys, values(formats.base64, "elements")] },
  "core.v1.Secret": { data: [...keys, values(formats.base64, "elements")], stringData: keys },
  "core.v1.ServiceSpec": {
    externalName: [names(emptyOr((value) => formats.dnsSubdomain(String(value).replace(/\.$/, ""))))],
    externalIPs: [values(formats.address, "elements")],
    clusterIP: [values((value) => (value === "None" || value === "" ? undefined : formats.address(value)))],
    selector: labels,
    loadBalancerSourceRanges: [values(formats.network, "elements")],
  },
  "core.v1.ServicePort": {
    appProtocol: [names(formats.labelKey)],
    port: portNumber,
    targetPort: [values((value) => (value === 0 || value === "" ? undefined : formats.port(value)))],
    nodePort: [values(formats.portOrNone)],
    name: [names(emptyOr(formats.dnsLabel))],
  },
  "core.v1.PersistentVolumeClaimSpec": { storageClassName: [names(emptyOr(formats.dnsSubdomain))] },
  "apps.v1.DeploymentSpec": {
    ...each(["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], notNegative),
  },
  "apps.v1.StatefulSetSpec": {
    ...each(["replicas", "minReadySeconds", "revisionHistoryLimit"], notNegative),
    serviceName: [names(emptyOr(formats.dnsLabel))],
  },
  "networking.v1.IngressTLS": { secretName: [names(emptyOr(formats.dnsSubdomain))] },
  "apps.v1.ReplicaSetSpec": each(["replicas", "minReadySeconds"], notNegative),
  "apps.v1.DaemonSetSpec": each(["minReadySeconds", "revisionHistoryLimit"], notNegative),
  "apps.v1.RollingUpdateDeployment": each(["maxSurge", "maxUnavailable"], countOrShare),
  "apps.v1.RollingUpdateDaemonSet": each(["maxSurge", "maxUnavailable"], countOrShare),
  "apps.v1.RollingUpdateStatefulSetStrategy": { partition: notNegative, maxUnavailable: countOrShare },
  "batch.v1.JobSpec": {
    ...each(["parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished"], notNegative),
    activeDeadlineSeconds: notNegative,
  },
  "batch.v1.CronJobSpec": {
    schedule: [schedule],
    timeZone: [timeZone],
    ...each(["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"], notNegative),
  },
  "policy.v1.PodDisruptionBudgetSpec": each(["minAvailable", "maxUnavailable"], countOrShare),
  "autoscaling.v2.HorizontalPodAutoscalerSpec": each(["minReplicas", "maxReplicas"], positive),
  "autoscaling.v2.CrossVersionObjectReference": each(["kind", "name"], notEmpty),
  "autoscaling.v2.MetricTarget": { averageUtilization: positive },
  "networking.v1.NetworkPolicyPort": { port, endPort: portNumber },
  "networking.v1.IPBlock": { cidr: [values(formats.network)], except: [values(formats.network, "elements")] },
  "networking.v1.HTTPIngressPath": { path: [values(emptyOr(formats.absolutePath))] },
  "networking.v1.ServiceBackendPort": {
    number: [values(formats.portOrNone)],
    name: [names(emptyOr(formats.portName))],
  },
  "rbac.v1.RoleRef": { name: [names(formats.pathSegment)] },
  "rbac.v1.Subject": { name: notEmpty },
};

function trimmed(value: unknown): string | undefined {
  return String(value).trim() === value ? undefined : "remove the space around it";
}

function emptyOr(format: Format): Format {
  return (value) => (value === "" ? undefined : format(value));
}

function inside(value: unknown): string | undefined {
  return String(value).split("/").includes("..") ? "write a path without .." : undefined;
}

function weight(value: unknown): string | undefined {
  return typeof value === "number" && (value < 1 || value > 100) ? "write a number from 1 to 100" : undefined;
}

/** A definition's name without its prefix, as in these tables. */
export const shortName = (definition: string): string =>
  definition.replace(/^io\.k8s\.(api\.|apimachinery\.pkg\.apis\.)/, "");

/** The checks of a definition's field. */
export function checksOf(definition: string, field: string): FieldCheck[] {
  return table[shortName(definition)]?.[field] ?? [];
}

// Most names are DNS names of up to 253 characters. These kinds have other rules.
const nameFormats: Record<string, Format> = {
  Namespace: formats.dnsLabel,
  Service: formats.dnsLabel,
  CronJob: formats.cronJobName,
  PodDisruptionBudget: formats.pathSegment,
  Role: formats.pathSegment,
  RoleBinding: formats.pathSegment,
  ClusterRole: formats.pathSegment,
  ClusterRoleBinding: formats.pathSegment,
};

/** The format of the names of a kind's objects. */
export function nameFormat(kind: string): Format {
  return nameFormats[kind] ?? formats.dnsSubdomain;
}
