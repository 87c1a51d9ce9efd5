/** What each environment promises of what it renders; what all have in common `validate` checks. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultEnvironment } from "../../lib/environment.ts";
import type { KubernetesObject } from "../../lib/object.ts";
import { renderObjects } from "../../lib/render/kustomize.ts";
import { checkout } from "../../lib/repository.ts";
import { findCollector } from "../../services/log-agent/test/agent.ts";
import { faultFile } from "../src/release/own.ts";

const coldStart = 900_000;
const environments = readdirSync(join(checkout, "gitops/apps/logging/overlays"));
const others = environments.filter((name) => name !== defaultEnvironment);
const rendered = new Map<string, KubernetesObject[]>();

const find = (environment: string, kind: string, name: string, app = "logging"): KubernetesObject => {
  const found = rendered
    .get(`${app} ${environment}`)
    ?.find((object) => object.kind === kind && object.metadata.name === name);
  if (!found) throw new Error(`${app} in ${environment} has no ${kind} ${name}`);
  return found;
};
const has = (environment: string, kind: string): boolean =>
  (rendered.get(`logging ${environment}`) ?? []).some((object) => object.kind === kind);

beforeAll(async () => {
  for (const app of ["logging", "log-agent"])
    for (const name of environments)
      rendered.set(
        `${app} ${name}`,
        await renderObjects(join(checkout, `gitops/apps/${app}/overlays/${name}`)),
      );
}, coldStart);

test("the agent has the same environments as the app", () => {
  expect(readdirSync(join(checkout, "gitops/apps/log-agent/overlays"))).toEqual(environments);
});

test.each(environments)("%s delays the share that its one file says", (environment) => {
  const [, share] =
    /^DELAY_PERCENT=(\d+)$/m.exec(readFileSync(join(checkout, faultFile(checkout, environment)), "utf8")) ??
    [];
  const [append] = find(environment, "VirtualService", "app").spec.http;
  expect(append.headers.request.set["x-envoy-fault-delay-request-percentage"]).toBe(share);
});

test.each(environments)("%s tells the archiver what its agents' stores hold", (environment) => {
  const collector = (name: string): string | undefined =>
    rendered
      .get(`log-agent ${environment}`)
      ?.filter(({ kind }) => kind === "ConfigMap")
      .map((object) => (object.data as Record<string, string>)[name])
      .find((text) => text !== undefined);
  const texts = [collector("collector.yaml"), collector("production.yaml")].filter(
    (text) => text !== undefined,
  );
  const rotation = Object.assign(
    {},
    ...texts.map((text) => (load(text) as Collector).exporters["file/store"].rotation),
  );
  const config = rendered
    .get(`logging ${environment}`)
    ?.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name.startsWith("log-archiver-config"));
  // Those that are rotated away, and the one that is being written.
  expect(Number(config?.data?.STORE_MIB)).toBe(rotation.max_megabytes * (rotation.max_backups + 1));
});

interface Collector {
  exporters: { "file/store": { rotation: { max_megabytes?: number; max_backups?: number } } };
}

test("production delays nothing", () => {
  expect(readFileSync(join(checkout, faultFile(checkout, "production")), "utf8")).toBe("DELAY_PERCENT=0\n");
});

test.each(environments)("%s keeps to Pod Security as the base does", (environment) => {
  for (const [app, level] of [
    ["logging", "restricted"],
    ["log-agent", "privileged"],
  ] as const) {
    const { labels } = find(environment, "Namespace", app, app).metadata;
    expect(labels?.["pod-security.kubernetes.io/enforce"]).toBe(level);
  }
});

describe.each(others)("in %s", (environment) => {
  test("the autoscaler owns the number of pods, and takes one at a time", () => {
    expect(find(environment, "Deployment", "app").spec).not.toHaveProperty("replicas");
    const { minReplicas, maxReplicas, behavior } = find(environment, "HorizontalPodAutoscaler", "app").spec;
    expect(minReplicas).toBeGreaterThan(1);
    expect(maxReplicas).toBeGreaterThan(minReplicas);
    const [policy, ...more] = behavior.scaleDown.policies;
    expect(more).toEqual([]);
    expect(policy).toMatchObject({ type: "Pods", value: 1 });
    // Every run of the archiver in between finds what is on the nodes.
    expect(policy.periodSeconds).toBeGreaterThan(600);
    expect(find(environment, "PodDisruptionBudget", "app").spec.maxUnavailable).toBe(1);
  });

  test("the gateway serves one name, over TLS too", () => {
    const file = `gitops/apps/logging/overlays/${environment}/configmap-host.yaml`;
    const { data } = load(readFileSync(join(checkout, file), "utf8")) as { data: { host: string } };
    const { servers } = find(environment, "Gateway", "app").spec;
    expect(servers.map(({ hosts }: { hosts: string[] }) => hosts)).toEqual([[data.host], [data.host]]);
    const [http, https] = servers;
    expect(https.port).toMatchObject({ number: 443, protocol: "HTTPS" });
    expect(https.tls).toMatchObject({ mode: "SIMPLE", credentialName: "logging-tls" });
    expect(http.tls).toEqual(environment === "production" ? { httpsRedirect: true } : undefined);
    if (!has(environment, "Certificate")) return;
    // In the app's namespace no gateway would find it.
    const { metadata, spec } = find(environment, "Certificate", "logging-tls");
    expect(metadata.namespace).toBe("istio-system");
    expect(spec).toMatchObject({ secretName: "logging-tls", dnsNames: [data.host] });
  });

  test("nothing but the environment's own is different from local", () => {
    const names = (name: string): string[] =>
      (rendered.get(`logging ${name}`) ?? [])
        .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
        // Its name has its content's hash, and what a node's store holds is the environment's own.
        .map((name) => name.replace(/^(ConfigMap log-archiver-config)-.*/, "$1"))
        .filter((name) => !/^(HorizontalPodAutoscaler app|Certificate logging-tls)$/.test(name));
    expect(names(environment)).toEqual(names(defaultEnvironment));
  });
});

test("some environment has its certificate from cert-manager, production has it from its operator", () => {
  expect(others.filter((environment) => has(environment, "Certificate"))).toEqual(["staging"]);
});

// The collector is compiled by the bootstrap; a machine that never ran it has none.
const collector = findCollector();
describe.skipIf(!collector)("the agent", () => {
  const directory = mkdtempSync(join(tmpdir(), "log-agent-"));
  mkdirSync(join(directory, "checkpoint"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const embedded = "the embedded cluster";
  beforeAll(async () => {
    const objects = await renderObjects(join(checkout, "gitops/clusters/embedded/log-agent"));
    rendered.set(`log-agent ${embedded}`, objects);
  }, coldStart);

  test("of the embedded cluster is that of its environment but for the encoding", () => {
    const [own, local] = [embedded, defaultEnvironment].map((name) =>
      structuredClone(rendered.get(`log-agent ${name}`) ?? []).map((object) => {
        const text = JSON.stringify(object).replaceAll(/log-agent-config-\w+/g, "log-agent-config");
        return text
          .replace('"--config=/etc/log-agent/line-encoding.yaml",', "")
          .replace(/(opentelemetry-collector-contrib:[\d.]+)-\w+/, "$1");
      }),
    );
    const changed = own?.filter((object) => !local?.includes(object)).map((text) => JSON.parse(text));
    expect(changed).toHaveLength(1);
    expect(changed?.[0]).toMatchObject({
      kind: "ConfigMap",
      data: { "line-encoding.yaml": expect.stringContaining("log_line_encoding") },
    });
    expect(own).toHaveLength(local?.length ?? 0);
  });

  test.each([...environments, embedded])("accepts its configuration in %s", async (environment) => {
    const [container] = find(environment, "DaemonSet", "log-agent", "log-agent").spec.template.spec
      .containers;
    const base = join(checkout, "gitops/apps/log-agent");
    const args = (container.args as string[]).map((arg) =>
      arg
        .replace("/etc/log-agent/collector.yaml", join(base, "base/agent/collector.yaml"))
        .replace(
          "/etc/log-agent/line-encoding.yaml",
          join(base, "components/line-encoding/line-encoding.yaml"),
        )
        .replace("/etc/log-agent/", join(base, `overlays/${environment}/`)),
    );
    const { exitCode, stderr } = await execa(collector ?? "", ["validate", ...args], {
      env: { STATE_DIR: directory, PODS_DIR: directory, NODE_NAME: "node", POD_IP: "127.0.0.1" },
      reject: false,
    });
    expect(exitCode, stderr).toBe(0);
  });
});
