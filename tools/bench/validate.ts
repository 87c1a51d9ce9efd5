/**
 * How long `validate` takes on this repository and on generated ones: `npm run bench:validate -- [applications...]`.
 * Where KUBECONFORM or KUBE_LINTER name programs, they check the same rendered objects in the same run.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { dump } from "js-yaml";
import { concurrently } from "../../lib/concurrency.ts";
import { Git } from "../../lib/git/git.ts";
import { kubernetes, moduleSource } from "../../lib/modules.ts";
import { renderYaml } from "../../lib/render/kustomize.ts";
import { checkout } from "../../lib/repository.ts";

const objectsPerApplication = 20;
const kustomization = { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization" };

/** Writes a repository of one cluster: each Application has a namespace, a workload, what belongs to it, and ConfigMaps. */
function generate(root: string, applications: number): void {
  const write = (file: string, content: object): void => {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), dump(content));
  };
  const names = Array.from({ length: applications }, (_, index) => `app-${index}`);
  cpSync(join(checkout, "gitops.yaml"), join(root, "gitops.yaml"));
  write("gitops/clusters/one/kustomization.yaml", { ...kustomization, resources: ["../../root"] });
  write("gitops/root/kustomization.yaml", {
    ...kustomization,
    resources: names.map((name) => `application-${name}.yaml`),
  });
  for (const name of names) {
    write(`gitops/root/application-${name}.yaml`, application(name));
    const objects = objectsOf(name);
    for (const [file, object] of Object.entries(objects)) write(`gitops/apps/${name}/${file}.yaml`, object);
    const labels = [
      {
        pairs: { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": name },
        includeTemplates: true,
      },
    ];
    const resources = Object.keys(objects).map((file) => `${file}.yaml`);
    write(`gitops/apps/${name}/kustomization.yaml`, { ...kustomization, namespace: name, resources, labels });
  }
}

const application = (name: string): object => ({
  apiVersion: "argoproj.io/v1alpha1",
  kind: "Application",
  metadata: {
    name,
    namespace: "argocd",
    labels: { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "platform" },
    finalizers: ["resources-finalizer.argocd.argoproj.io"],
  },
  spec: {
    project: "default",
    source: { path: `gitops/apps/${name}`, repoURL: "https://git.example/r.git", targetRevision: "trunk" },
    destination: { server: "https://kubernetes.default.svc", namespace: name },
    syncPolicy: { automated: { prune: true, selfHeal: true }, retry: { refresh: true } },
  },
});

function objectsOf(name: string): Record<string, object> {
  const labels = { "app.kubernetes.io/name": name };
  const restricted = { "pod-security.kubernetes.io/enforce": "restricted" };
  const container = {
    name: "main",
    image: "registry.example/main:1.0.0",
    ports: [{ name: "http", containerPort: 8080 }],
    envFrom: [{ configMapRef: { name: "config-0" } }],
    readinessProbe: { httpGet: { path: "/", port: "http" } },
    livenessProbe: { httpGet: { path: "/", port: "http" } },
    resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { memory: "32Mi" } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
  };
  const pod = {
    serviceAccountName: name,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [container],
  };
  const object = (apiVersion: string, kind: string, more: object, own = name): object => ({
    apiVersion,
    kind,
    metadata: { name: own },
    ...more,
  });
  const objects: Record<string, object> = {
    namespace: { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: restricted } },
    serviceaccount: object("v1", "ServiceAccount", {}),
    deployment: object("apps/v1", "Deployment", {
      spec: { replicas: 2, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: pod } },
    }),
    service: object("v1", "Service", {
      spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: "http" }] },
    }),
    poddisruptionbudget: object("policy/v1", "PodDisruptionBudget", {
      spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
    }),
    networkpolicy: object("networking.k8s.io/v1", "NetworkPolicy", {
      spec: { podSelector: { matchLabels: labels }, ingress: [{ ports: [{ port: "http" }] }] },
    }),
  };
  for (let index = 0; Object.keys(objects).length < objectsPerApplication; index++) {
    objects[`configmap-${index}`] = object(
      "v1",
      "ConfigMap",
      { data: { key: `value ${index}` } },
      `config-${index}`,
    );
  }
  return objects;
}

interface Definition {
  "x-kubernetes-group-version-kind"?: { group: string; version: string; kind: string }[];
}

/** Writes the pinned Kubernetes' schemas as kubeconform reads them, and returns the pattern of their names. */
async function kubeconformSchemas(directory: string): Promise<string> {
  const source = join(await moduleSource(checkout, kubernetes), "api/openapi-spec/swagger.json");
  const { definitions } = JSON.parse(readFileSync(source, "utf8")) as {
    definitions: Record<string, Definition>;
  };
  // Described as text there, and meant as text or number.
  definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {};
  writeFileSync(join(directory, "_definitions.json"), JSON.stringify({ definitions }));
  for (const [name, definition] of Object.entries(definitions)) {
    for (const { group, version, kind } of definition["x-kubernetes-group-version-kind"] ?? []) {
      const file = `${[kind, group.split(".")[0], version].filter(Boolean).join("-").toLowerCase()}.json`;
      writeFileSync(
        join(directory, file),
        JSON.stringify({ $ref: `_definitions.json#/definitions/${name}` }),
      );
    }
  }
  return join(directory, "{{.ResourceKind}}{{.KindSuffix}}.json");
}

interface Row {
  what: string;
  seconds: number;
  cpuSeconds: number;
  peakMB: number;
  said: string;
}

/** Runs a command and takes its own processor time and its highest memory from the kernel; children of it count for time. */
async function measure(what: string, program: string, args: string[], input?: string): Promise<Row> {
  const started = Date.now();
  const result = await execa("/usr/bin/time", ["-f", "%U %S %M", program, ...args], {
    cwd: checkout,
    reject: false,
    ...(input === undefined ? {} : { input }),
  });
  const [user = 0, system = 0, peak = 0] = (result.stderr.trim().split("\n").pop() ?? "")
    .split(" ")
    .map(Number);
  const lines = result.stdout.trim().split("\n");
  const said = lines.find((line) => line.includes(" in ")) ?? lines.pop() ?? "";
  const seconds = (Date.now() - started) / 1000;
  return { what, seconds, cpuSeconds: user + system, peakMB: peak / 1024, said: said.slice(0, 80) };
}

const cli = ["--import", "tsx", "tools/src/cli.ts", "validate"];
const rows: Row[] = [];
const note = (row: Row): void => {
  rows.push(row);
  process.stderr.write(`${row.what}: ${row.seconds.toFixed(1)} s, ${row.said}\n`);
};

note(await measure("this repository, nothing cached", "node", [...cli, "--no-cache"]));
await measure("", "node", cli);
note(await measure("this repository, unchanged", "node", cli));
const sizes = process.argv.slice(2).map(Number);
for (const applications of sizes.length > 0 ? sizes : [125, 250, 500]) {
  const root = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    generate(root, applications);
    await new Git(root).run("init", "--quiet");
    note(await measure(`${applications} Applications, nothing cached`, "node", [...cli, root, "--no-cache"]));
    await measure("", "node", [...cli, root]);
    note(await measure(`${applications} Applications, unchanged`, "node", [...cli, root]));
    const names = Array.from({ length: applications }, (_, index) => `app-${index}`);
    const started = Date.now();
    const rendered = await concurrently(names, (name) => renderYaml(join(root, "gitops/apps", name)));
    const seconds = (Date.now() - started) / 1000;
    note({
      what: `${applications} × kustomize build`,
      seconds,
      cpuSeconds: Number.NaN,
      peakMB: Number.NaN,
      said: "",
    });
    const stream = join(root, "all.yaml");
    writeFileSync(stream, rendered.join("---\n"));
    const { KUBECONFORM, KUBE_LINTER } = process.env;
    if (KUBECONFORM) {
      const schemas = await kubeconformSchemas(mkdtempSync(join(root, "schemas-")));
      const args = ["-summary", "-schema-location", schemas, stream];
      note(await measure(`${applications}, kubeconform on that`, KUBECONFORM, args));
    }
    if (KUBE_LINTER)
      note(await measure(`${applications}, kube-linter on that`, KUBE_LINTER, ["lint", stream]));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const model = /^model name\s*: (.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
process.stdout.write(
  `${cpus().length} × ${model}, Node ${process.versions.node}, load average ${loadavg()[0]?.toFixed(1)}\n\n`,
);
process.stdout.write("| what | seconds | CPU seconds | peak MB | said |\n| --- | --- | --- | --- | --- |\n");
const shown = (value: number, digits: number): string => (Number.isNaN(value) ? "" : value.toFixed(digits));
for (const { what, seconds, cpuSeconds, peakMB, said } of rows) {
  process.stdout.write(
    `| ${what} | ${shown(seconds, 1)} | ${shown(cpuSeconds, 1)} | ${shown(peakMB, 0)} | ${said} |\n`,
  );
}
