import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import { fewestReplicas } from "./autoscaling.ts";
import {
  type Container,
  containersOf,
  isLongRunning,
  type PodSpec,
  podsOf,
  type SecurityContext,
  selects,
} from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";

const enforce = "pod-security.kubernetes.io/enforce";

type Level = "restricted" | "baseline" | "privileged";

const levelOf = (graph: Graph, namespace: string): Level =>
  (graph.find("Namespace", namespace)?.object.metadata.labels?.[enforce] as Level | undefined) ??
  "restricted";

export const podSecurity: Rule = {
  id: "pod-security",
  summary: "Pods comply with their namespace's level of Pod Security, and every namespace enforces one",
  explanation: `If a namespace enforces restricted (label ${enforce}), the API server refuses other pods, and the workload stays at 0 pods. In
  addition to that level, every container has a read-only root file system. Containers in a privileged namespace may run as root, add
  capabilities and mount the node's directories; those in a baseline namespace may run as root. In both they must drop ALL capabilities
  first, gain no privileges and have a seccomp profile. Privileged containers are a finding everywhere.`,
  check: (graph) => [
    ...graph
      .ofKind("Namespace")
      .filter(({ object, foreign }) => !foreign && !object.metadata.labels?.[enforce])
      .map(
        (manifest): Problem => ({
          manifest,
          path: ["metadata", "labels"],
          message: `${describeObject(manifest.object)} enforces no level of Pod Security`,
          fix: `add the label ${enforce}: restricted`,
        }),
      ),
    ...podsOf(graph).flatMap(({ source, namespace }) => {
      if (!source) return [];
      const level = levelOf(graph, namespace);
      return [
        ...podProblems(source.manifest, source.spec, source.path, level),
        ...containersOf(source).flatMap(({ container, path }) =>
          containerProblems(container, source.spec.securityContext ?? {}, level).map(
            ({ field, message, fix }): Problem => ({
              manifest: source.manifest,
              path: [...path, ...field],
              message: `${describeObject(source.manifest.object)}: container ${container.name} ${message}`,
              fix,
            }),
          ),
        ),
      ];
    }),
  ],
};

interface Shortcoming {
  field: FieldPath;
  message: string;
  fix: string;
}

function containerProblems(container: Container, pod: SecurityContext, level: Level): Shortcoming[] {
  const own = container.securityContext ?? {};
  const at = (...field: string[]): FieldPath => ["securityContext", ...field];
  const added = (own.capabilities?.add ?? []).filter((name) => name !== "NET_BIND_SERVICE");
  const checks: [boolean, Shortcoming][] = [
    [
      own.privileged === true,
      {
        field: at("privileged"),
        message: "is privileged",
        fix: "remove privileged, and add only the capability that it needs",
      },
    ],
    [
      level === "restricted" && !(own.runAsNonRoot ?? pod.runAsNonRoot),
      { field: at("runAsNonRoot"), message: "may run as root", fix: "set runAsNonRoot: true" },
    ],
    [
      level === "restricted" && (own.runAsUser ?? pod.runAsUser) === 0,
      { field: at("runAsUser"), message: "runs as user 0", fix: "set runAsUser to another user" },
    ],
    [
      own.readOnlyRootFilesystem !== true,
      {
        field: at("readOnlyRootFilesystem"),
        message: "may write to its image",
        fix: "set readOnlyRootFilesystem: true and mount an emptyDir where it writes",
      },
    ],
    [
      own.allowPrivilegeEscalation !== false,
      {
        field: at("allowPrivilegeEscalation"),
        message: "may gain privileges",
        fix: "set allowPrivilegeEscalation: false",
      },
    ],
    [
      !own.capabilities?.drop?.includes("ALL"),
      { field: at("capabilities", "drop"), message: "keeps capabilities", fix: "drop ALL capabilities" },
    ],
    [
      level !== "privileged" && added.length > 0,
      {
        field: at("capabilities", "add"),
        message: `adds the capability ${added.join(", ")}`,
        fix: "add no capabilities",
      },
    ],
    [
      (own.seccompProfile ?? pod.seccompProfile)?.type !== "RuntimeDefault",
      {
        field: at("seccompProfile"),
        message: "has no seccomp profile",
        fix: "set seccompProfile: {type: RuntimeDefault}",
      },
    ],
  ];
  return checks.filter(([broken]) => broken).map(([, shortcoming]) => shortcoming);
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Volume Types"
const restrictedVolumes = new Set([
  "name",
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

function podProblems(manifest: Manifest, spec: PodSpec, path: FieldPath, level: Level): Problem[] {
  if (level === "privileged") return [];
  const problem = (field: FieldPath, what: string, fix: string): Problem => ({
    manifest,
    path: [...path, ...field],
    message: `${describeObject(manifest.object)} ${what}, which the level ${level} of its namespace refuses`,
    fix,
  });
  const shared = (["hostNetwork", "hostPID", "hostIPC"] as const).filter((field) => spec[field] === true);
  return [
    ...shared.map((field) =>
      problem([field], `sets ${field}`, `remove ${field}, or give the pods their own namespace`),
    ),
    ...(spec.volumes ?? []).flatMap((volume, index) =>
      Object.keys(volume)
        .filter((type) => (level === "restricted" ? !restrictedVolumes.has(type) : type === "hostPath"))
        .map((type) =>
          problem(
            ["volumes", index, type],
            `mounts a ${type}`,
            "use another kind of volume, or a namespace with another level",
          ),
        ),
    ),
  ];
}

export const resourcesSet: Rule = {
  id: "resources",
  isLocal: true,
  summary: "Every container requests CPU and memory and limits memory",
  explanation: `Without requests the scheduler fills a node blindly; without a memory limit a leak in one container evicts its neighbours. A CPU
  limit is optional, because it throttles a container even on an idle node.`,
  check: (graph) =>
    podsOf(graph).flatMap(({ source }): Problem[] => {
      if (!source) return [];
      return containersOf(source).flatMap(({ container, path }) => {
        const { requests = {}, limits = {} } = container.resources ?? {};
        const missing = [
          ...["cpu", "memory"].filter((name) => !(name in requests)).map((name) => `requests.${name}`),
          ...("memory" in limits ? [] : ["limits.memory"]),
        ];
        if (missing.length === 0) return [];
        const message = `${describeObject(source.manifest.object)}: container ${container.name} sets no ${missing.join(", ")}`;
        return [
          {
            manifest: source.manifest,
            path: [...path, "resources"],
            message,
            fix: "set them under resources",
          },
        ];
      });
    }),
};

export const probesSet: Rule = {
  id: "probes",
  isLocal: true,
  summary: "Containers that keep running have a readiness and a liveness probe",
  explanation: `Without a readiness probe a rollout goes on before the new pod answers; without a liveness probe a hanging process is not restarted. The
  rule checks the containers of Deployments, StatefulSets and DaemonSets in this repository, but not those of Jobs and not init containers.`,
  check: (graph) =>
    podsOf(graph).flatMap(({ source }): Problem[] => {
      if (!source || source.manifest.foreign || !isLongRunning(source.manifest.object)) return [];
      return containersOf(source).flatMap(({ container, path, first }) => {
        const missing = ["readinessProbe", "livenessProbe"].filter((probe) => !first && !container[probe]);
        return missing.map((probe) => ({
          manifest: source.manifest,
          path,
          message: `${describeObject(source.manifest.object)}: container ${container.name} has no ${probe}`,
          fix: `add a ${probe}`,
        }));
      });
    }),
};

export const disruptionBudget: Rule = {
  id: "disruption-budget",
  summary: "A Deployment or StatefulSet of several replicas has a PodDisruptionBudget",
  explanation: `Without a budget, draining a node may evict all pods of a workload at once. The rule checks workloads of this repository with more than
  one replica, or with a HorizontalPodAutoscaler whose minimum is more than one.`,
  check: (graph) =>
    podsOf(graph).flatMap(({ source, labels, namespace, owner }): Problem[] => {
      const { manifest } = source ?? {};
      if (!manifest || manifest.foreign || !["Deployment", "StatefulSet"].includes(manifest.object.kind))
        return [];
      if (fewestReplicas(graph, manifest) < 2) return [];
      const budgets = graph.ofKind("PodDisruptionBudget", namespace);
      if (budgets.some(({ object }) => selects(object.spec?.selector ?? {}, labels))) return [];
      return [
        {
          manifest,
          path: ["spec", "replicas"],
          message: `${owner} has no PodDisruptionBudget`,
          fix: "add one with maxUnavailable: 1",
        },
      ];
    }),
};
