/** B5, what can go wrong with archives: the deployed archiver in its place, on a small volume of its own. */
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { namespace } from "./app.ts";
import type { Application } from "./applications.ts";
import { signedIn } from "./argocd.ts";
import { apply, get, inPod, kubectl } from "./kubectl.ts";
import { exported } from "./platform.ts";

const pod = "log-archiver-small-volume";

interface PodTemplate {
  metadata: object;
  spec: { containers: { name: string }[]; volumes: { name: string }[] };
}

interface CronJob {
  spec: { jobTemplate: { spec: { template: PodTemplate } } };
}

beforeAll(async () => {
  const { metadata, spec } = (await get<CronJob>("cronjob", "log-archiver", "--namespace", namespace)).spec
    .jobTemplate.spec.template;
  await remove();
  await apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name: pod, namespace },
    spec: {
      ...spec,
      // It waits for what is asked of it, and says what it thinks of the archives.
      containers: spec.containers.map((container) => ({ ...container, args: ["serve"] })),
      volumes: spec.volumes.map((volume) =>
        volume.name === "archive"
          ? { name: volume.name, emptyDir: { medium: "Memory", sizeLimit: "32Mi" } }
          : volume,
      ),
    },
  });
  await kubectl(["--namespace", namespace, "wait", `pod/${pod}`, "--for=condition=Ready", "--timeout=100s"]);
});

afterAll(remove);

async function remove(): Promise<void> {
  await kubectl(["--namespace", namespace, "delete", "pod", pod, "--ignore-not-found", "--grace-period=1"]);
}

async function archiver(...args: string[]): Promise<{ exitCode?: number; stdout: string; stderr: string }> {
  const command = ["--namespace", namespace, "exec", pod, "--quiet", "--", "node", "/app/dist/main.js"];
  return execa("kubectl", [...command, ...args], { reject: false, maxBuffer: 1e9 });
}

const script = (code: string): Promise<string> =>
  inPod(namespace, pod, "node", "-e", `const fs = require("node:fs"); ${code}`);

const files = async (): Promise<string[]> =>
  (
    JSON.parse(await script("console.log(JSON.stringify(fs.readdirSync('/archive').sort()))")) as string[]
  ).filter((name) => name !== ".lock");

const damaged = async (): Promise<string | undefined> => {
  const page = await script("fetch('http://127.0.0.1:9090/metrics').then((r) => r.text()).then(console.log)");
  return /^log_archives_damaged (\d+)$/m.exec(page)?.[1];
};

test("B5 a full volume fails the run loudly and keeps the older archives", async () => {
  expect((await archiver("archive")).exitCode).toBe(0);
  const before = await files();
  expect(before).toEqual([
    expect.stringMatching(/^app-logs-\S+\.json$/),
    expect.stringMatching(/\.tar\.gz$/),
  ]);
  const fill = "for (;;) fs.appendFileSync('/archive/filler', Buffer.alloc(4096))";
  expect(await script(`try { ${fill} } catch (error) { console.log(error.code) }`)).toBe("ENOSPC\n");
  const { exitCode, stdout, stderr } = await archiver("archive");
  expect(exitCode).toBe(1);
  expect(stdout).not.toContain("verified and stored");
  expect(stderr).toMatch(/could not be stored in \/archive; older archives are untouched: .*ENOSPC/);
  expect(await files()).toEqual([...before, "filler"]);
  expect(await archiver("restore", "--verify")).toMatchObject({ exitCode: 0 });
  await script("fs.rmSync('/archive/filler')");
  expect((await archiver("archive")).exitCode).toBe(0);
  expect(await files()).toHaveLength(4);
});

test("B5 a truncated archive is refused by name, counted, and not taken for the others", async () => {
  expect(await damaged()).toBe("0");
  const name = (await files()).findLast((file) => file.endsWith(".tar.gz")) ?? "";
  await script(`fs.truncateSync('/archive/${name}', fs.statSync('/archive/${name}').size - 10)`);
  const { exitCode, stdout, stderr } = await archiver("restore", "--from", name);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(new RegExp(`/archive/${name} is damaged: it has \\d+ bytes, not \\d+`));
  expect(await damaged()).toBe("1");
  const [older = ""] = (await files()).filter((file) => file.endsWith(".tar.gz"));
  expect(older).not.toBe(name);
  expect(await archiver("restore", "--from", older, "--verify")).toMatchObject({ exitCode: 0 });
});

test("B5 a failed run leaves the Application healthy: no push could get well otherwise", async () => {
  const token = await signedIn("viewer", "argocd-viewer");
  interface Seen extends Application {
    status: Application["status"] & { resources: { kind: string; health?: { status: string } }[] };
  }
  /** The Application as Argo CD has it after a comparison. */
  const compared = async (): Promise<Seen> => {
    const url = `${exported("ARGOCD_URL")}/api/v1/applications/logging?refresh=normal`;
    return (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).json() as Promise<Seen>;
  };
  // As from a failed run to the next one, which sets both times again.
  const status = () => ({
    lastScheduleTime: new Date().toISOString(),
    lastSuccessfulTime: new Date(Date.now() - 600_000).toISOString(),
  });
  // What Argo CD thinks of the CronJob by itself, so that a state that it has not seen does not pass for one that it ignores.
  await until("the CronJob", 120, async () => {
    const patch = ["--subresource=status", "--type=merge", `--patch=${JSON.stringify({ status: status() })}`];
    await kubectl(["--namespace", namespace, "patch", "cronjob", "log-archiver", ...patch]);
    const { resources } = (await compared()).status;
    const health = resources.find(({ kind }) => kind === "CronJob")?.health?.status;
    return health === "Degraded" ? undefined : `is ${health} to Argo CD`;
  });
  expect((await compared()).status.health.status).toBe("Healthy");
});
