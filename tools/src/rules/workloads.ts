import type { Finding } from "../finding.ts";
import { describeObject, type KubernetesObject } from "../object.ts";

interface SecurityContext {
  runAsNonRoot?: boolean;
  readOnlyRootFilesystem?: boolean;
  allowPrivilegeEscalation?: boolean;
  capabilities?: { drop?: string[]; add?: string[] };
  seccompProfile?: { type: string };
}

interface Container {
  name: string;
  ports?: { name?: string; containerPort: number }[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  securityContext?: SecurityContext;
}

interface PodTemplate {
  metadata?: { labels?: Record<string, string> };
  spec: {
    containers: Container[];
    initContainers?: Container[];
    securityContext?: SecurityContext;
    topologySpreadConstraints?: { labelSelector?: { matchLabels?: Record<string, string> } }[];
  };
}

/** True for the kinds that keep pods running from a template. */
export function isWorkload({ kind }: KubernetesObject): boolean {
  return kind === "Deployment" || kind === "StatefulSet" || kind === "DaemonSet";
}

/** The pod template of a workload. */
export function podTemplate(workload: KubernetesObject): PodTemplate {
  return workload.spec.template;
}

/** Finds containers that Pod Security's `restricted` refuses, that may write to their image, or that state no resources. */
export function unconfinedContainers(objects: KubernetesObject[]): Finding[] {
  return objects.filter(isWorkload).flatMap((workload) => {
    const { spec } = podTemplate(workload);
    return [...(spec.initContainers ?? []), ...spec.containers].flatMap((container) =>
      shortcomings(container, spec.securityContext ?? {}).map((message) => ({
        rule: "confined-container",
        where: `${describeObject(workload)} container ${container.name}`,
        message,
      })),
    );
  });
}

function shortcomings(
  { resources = {}, securityContext: own = {} }: Container,
  pod: SecurityContext,
): string[] {
  const { requests = {}, limits = {} } = resources;
  const checks: [boolean, string][] = [
    [own.runAsNonRoot ?? pod.runAsNonRoot ?? false, "set runAsNonRoot: true"],
    [own.readOnlyRootFilesystem === true, "set readOnlyRootFilesystem: true"],
    [own.allowPrivilegeEscalation === false, "set allowPrivilegeEscalation: false"],
    [own.capabilities?.drop?.includes("ALL") ?? false, "drop ALL capabilities"],
    [(own.capabilities?.add ?? []).length === 0, "add no capabilities"],
    [
      (own.seccompProfile ?? pod.seccompProfile)?.type === "RuntimeDefault",
      "set seccompProfile RuntimeDefault",
    ],
    ["cpu" in requests && "memory" in requests, "request cpu and memory"],
    ["memory" in limits, "limit memory"],
  ];
  return checks.filter(([met]) => !met).map(([, message]) => message);
}
