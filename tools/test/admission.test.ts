/** The admission policies that deploy.sh applies, by the rules that the API server evaluates: what they let pass, and what not. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Environment } from "@marcbachmann/cel-js";
import { load } from "js-yaml";
import { describe, expect, test } from "vitest";
import type { KubernetesObject } from "../../lib/object.ts";
import { renderObjects } from "../../lib/render/kustomize.ts";
import { checkout } from "../../lib/repository.ts";
import { slow } from "../../lib/test/long.ts";

interface Policy {
  spec: {
    variables: { name: string; expression: string }[];
    matchConditions?: { name: string; expression: string }[];
    validations: { expression: string; message: string }[];
  };
}

interface Request {
  name: string;
  namespace?: string;
  userInfo: { username: string };
}

const environment = new Environment({ unlistedVariablesAreDyn: true });
const policy = (name: string): Policy => {
  const file = `bootstrap/argocd/root/base/admission/validatingadmissionpolicy-${name}.yaml`;
  return load(readFileSync(join(checkout, file), "utf8")) as Policy;
};

/** What a policy says of an object, message by message; nothing where it does not look at it. */
function refusals({ spec }: Policy, object: object, request: Request): string[] {
  const context: Record<string, unknown> = { object, request, variables: {} };
  const evaluate = (expression: string): unknown => {
    const program = environment.parse(expression) as unknown as (context: Record<string, unknown>) => unknown;
    return program(context);
  };
  if (!(spec.matchConditions ?? []).every(({ expression }) => evaluate(expression) === true)) return [];
  const variables = context.variables as Record<string, unknown>;
  for (const { name, expression } of spec.variables) variables[name] = evaluate(expression);
  return spec.validations.flatMap(({ expression, message }) =>
    evaluate(expression) === true ? [] : [message],
  );
}

const argocd = "system:serviceaccount:argocd:argocd-application-controller";
const requestFor = (object: KubernetesObject, username = argocd): Request => {
  // As the API server has it: a Namespace is in itself, and what has no namespace has no such key.
  const namespace =
    object.metadata.namespace ?? (object.kind === "Namespace" ? object.metadata.name : undefined);
  return {
    name: object.metadata.name,
    ...(namespace === undefined ? {} : { namespace }),
    userInfo: { username },
  };
};

const sources = [
  "gitops/apps/logging/overlays/local",
  "gitops/apps/logging/overlays/staging",
  "gitops/apps/logging/overlays/production",
  "gitops/apps/log-agent/overlays/local",
  "gitops/apps/log-agent/overlays/production",
  "gitops/platform/gateway",
  "gitops/platform/monitoring/overlays/embedded",
  "gitops/platform/monitoring/overlays/upstream",
  "gitops/platform/monitoring/stack/embedded",
];
let rendered: Promise<KubernetesObject[]> | undefined;
/** All that they render, which takes seconds: once, and only where it is looked at. */
const objectsOfAll = async (): Promise<KubernetesObject[]> => {
  rendered ??= Promise.all(sources.map((source) => renderObjects(join(checkout, source)))).then((of) =>
    of.flat(),
  );
  return rendered;
};

describe("what Argo CD writes", () => {
  const delivery = policy("delivery");

  test("is all that the repository has", { ...slow, timeout: 900_000 }, async () => {
    const objects = await objectsOfAll();
    expect(objects.length).toBeGreaterThan(100);
    const refused = objects.flatMap((object) =>
      refusals(delivery, object, requestFor(object)).map(
        (message) => `${object.kind} ${object.metadata.name}: ${message}`,
      ),
    );
    expect(refused).toEqual([]);
  });

  const role = (rule: object, kind = "ClusterRole", name = "x"): KubernetesObject =>
    ({ apiVersion: "rbac.authorization.k8s.io/v1", kind, metadata: { name }, rules: [rule] }) as never;
  const binding = (ref: string, subject = "ServiceAccount", kind = "ClusterRoleBinding"): KubernetesObject =>
    ({
      kind,
      metadata: { name: "x" },
      roleRef: { name: ref },
      subjects: [{ kind: subject, name: "x" }],
    }) as never;
  const namespace = (name: string, level?: string): KubernetesObject =>
    ({
      kind: "Namespace",
      metadata: { name, labels: level ? { "pod-security.kubernetes.io/enforce": level } : { app: "x" } },
    }) as never;
  const pods = { apiGroups: [""], resources: ["pods"] };
  const every = { apiGroups: ["*"], resources: ["*"], verbs: ["*"] };

  test.each<[string, KubernetesObject]>([
    ["a ClusterRole that may do everything", role(every)],
    ["the same under a name of the chart", role(every, "ClusterRole", "monitoring-x")],
    ["a Role that may do everything", role(every, "Role")],
    ["all verbs", role({ ...pods, verbs: ["*"] })],
    [
      "escalate",
      role({ apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles"], verbs: ["escalate"] }),
    ],
    ["bind in a Role of the chart", role({ ...pods, verbs: ["bind"] }, "Role", "monitoring-x")],
    ["impersonate", role({ apiGroups: [""], resources: ["users"], verbs: ["impersonate"] })],
    ["all subresources", role({ apiGroups: [""], resources: ["*/exec"], verbs: ["create"] })],
    ["every Secret", role({ apiGroups: [""], resources: ["secrets"], verbs: ["list"] })],
    ["every pod's shell", role({ apiGroups: [""], resources: ["pods/exec"], verbs: ["create"] })],
    ["a binding to cluster-admin", binding("cluster-admin")],
    ["a binding to edit in a namespace", binding("edit", "ServiceAccount", "RoleBinding")],
    ["a binding to a role of the system", binding("system:node")],
    ["a binding of a group", binding("log-agent", "Group")],
    ["a binding of a user", binding("log-agent", "User", "RoleBinding")],
    ["a privileged namespace of the app", namespace("logging", "privileged")],
    ["a baseline namespace", namespace("other", "baseline")],
    ["a namespace that says nothing", namespace("other")],
    ["the mesh's namespace", namespace("istio-system", "restricted")],
    [
      "a Secret beside the mesh's root key",
      { kind: "Secret", metadata: { name: "x", namespace: "istio-system" } } as never,
    ],
    [
      "a Role beside it",
      { ...role({ ...pods, verbs: ["get"] }, "Role"), metadata: { name: "x", namespace: "istio-system" } },
    ],
  ])("is never %s", (_, object) => {
    expect(refusals(delivery, object, requestFor(object))).not.toEqual([]);
  });

  test.each<[string, KubernetesObject]>([
    [
      "a Secret of every namespace in a Role of one",
      role({ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }, "Role"),
    ],
    [
      "the chart's operator",
      role(
        { apiGroups: ["monitoring.coreos.com"], resources: ["prometheuses"], verbs: ["*"] },
        "ClusterRole",
        "monitoring-operator",
      ),
    ],
    [
      "the chart's state metrics",
      role({ apiGroups: [""], resources: ["secrets"], verbs: ["list"] }, "ClusterRole", "monitoring-ksm"),
    ],
    ["Argo CD itself", role(every, "ClusterRole", "argocd-application-controller")],
  ])("may be %s", (_, object) => {
    expect(refusals(delivery, object, requestFor(object))).toEqual([]);
  });

  test("is looked at, and what people apply is not", () => {
    const object = binding("cluster-admin");
    expect(refusals(delivery, object, requestFor(object, "kubernetes-admin"))).toEqual([]);
  });
});

describe("what a pod of the platform has of its node", () => {
  const node = policy("nodes");
  type Spec = Record<string, unknown>;
  const look = (spec: Spec, namespace: string): string[] => {
    const pod = { kind: "Pod", metadata: { name: "x", namespace }, spec } as unknown as KubernetesObject;
    return refusals(node, pod, requestFor(pod, "system:serviceaccount:kube-system:replicaset-controller"));
  };

  test("is what the repository's workloads ask for", { ...slow, timeout: 900_000 }, async () => {
    const objects = await objectsOfAll();
    const templates = objects.flatMap(({ kind, metadata, spec }) => {
      const template = kind === "CronJob" ? spec.jobTemplate.spec.template : spec?.template;
      return template?.spec?.containers
        ? [{ name: metadata.name, namespace: metadata.namespace ?? "", spec: template.spec }]
        : [];
    });
    expect(templates.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["app", "log-agent", "log-store", "node-exporter"]),
    );
    for (const { name, namespace, spec } of templates)
      expect([name, look(spec, namespace)]).toEqual([name, []]);
  });

  const user = { runAsNonRoot: true, runAsUser: 10001 };
  const pod = (more: Spec, container: Spec = {}): Spec => ({
    containers: [{ name: "x", ...container }],
    ...more,
  });
  const host = (path: string, readOnly: boolean, securityContext: Spec = user): Spec =>
    pod(
      { securityContext, volumes: [{ name: "v", hostPath: { path } }] },
      { volumeMounts: [{ name: "v", mountPath: "/v", readOnly }] },
    );

  test.each<[string, Spec, string]>([
    ["privileged", pod({}, { securityContext: { privileged: true } }), "log-agent"],
    [
      "privileged in an init container",
      pod({ initContainers: [{ name: "i", securityContext: { privileged: true } }] }),
      "monitoring",
    ],
    [
      "privileged in an ephemeral container",
      pod({ ephemeralContainers: [{ name: "i", securityContext: { privileged: true } }] }),
      "logging",
    ],
    ["a capability", pod({}, { securityContext: { capabilities: { add: ["SYS_PTRACE"] } } }), "monitoring"],
    ["its IPC", pod({ hostIPC: true }), "monitoring"],
    ["its processes", pod({ hostPID: true, securityContext: user }), "log-agent"],
    ["its network", pod({ hostNetwork: true }), "logging"],
    ["its processes as root", pod({ hostPID: true }), "monitoring"],
    ["its root directory in the agent's namespace", host("/", true), "log-agent"],
    ["the kubelet's directory", host("/var/lib/kubelet", true), "log-agent"],
    [
      "a path that only begins like one that is allowed",
      host("/var/lib/kubelet/pods/../pki", true),
      "log-agent",
    ],
    ["the pods' directory in the app's namespace", host("/var/lib/kubelet/pods", true), "logging"],
    ["the pods' directory to write", host("/var/lib/kubelet/pods", false), "log-agent"],
    ["the pods' directory as root", host("/var/lib/kubelet/pods", true, {}), "log-agent"],
    ["the root directory as root", host("/", true, { runAsNonRoot: false }), "monitoring"],
    ["the root directory as user 0", host("/", true, { runAsNonRoot: true, runAsUser: 0 }), "monitoring"],
    ["containerd's socket", host("/run/containerd/containerd.sock", true), "monitoring"],
  ])("is never %s", (_, spec, namespace) => {
    expect(look(spec, namespace)).not.toEqual([]);
  });

  test("is never the root directory of a container that runs as root in a pod that does not", () => {
    const spec = host("/", true);
    const [container] = spec.containers as Spec[];
    for (const securityContext of [{ runAsUser: 0 }, { runAsNonRoot: false }])
      expect(look({ ...spec, containers: [{ ...container, securityContext }] }, "monitoring")).not.toEqual(
        [],
      );
  });
});
