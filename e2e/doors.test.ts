/** Doors that are closed: attacks as a pod, a local user, a client and a pusher make them, each of which got in once. */
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apply, get, inPod } from "./kubectl.ts";
import { platformListeners } from "./machine.ts";
import { generateManifest, mark } from "./repo-server.ts";
import { createNamespace, deleteNamespace, shellPod, waitForPhase } from "./testpods.ts";

const namespace = "e2e-doors";
const attacker = "attacker";

beforeAll(async () => {
  await createNamespace(namespace);
  await apply(shellPod(namespace, attacker, { script: "sleep 3600" }));
  await waitForPhase(namespace, attacker, "Running");
});

afterAll(() => deleteNamespace(namespace));

/** Runs JavaScript with top-level await in the attacker's pod, which has no right to anything, and returns what it prints. */
const asPod = (script: string): Promise<string> =>
  inPod(namespace, attacker, "node", "--input-type=module", "--eval", script);

/** Runs a program as the local user nobody, in the environment of a fresh login. */
const asNobody = async (...command: string[]): Promise<{ exitCode: number | undefined; all: string }> => {
  const drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "--reset-env", ...command];
  const { exitCode, all } = await execa("setpriv", drop, { reject: false, all: true, timeout: 60_000 });
  return { exitCode, all };
};

describe("the image mirror", () => {
  // Begins an upload, puts a manifest under a tag, and deletes what that made: each answer's status.
  const push = (address: string): string => `
    const at = "http://${address}/v2/docker.io/e2e/doors";
    const status = async (path, init) => {
      const { status } = await fetch(at + path, { ...init, signal: AbortSignal.timeout(5000) }).catch(() => ({ status: 0 }));
      return status;
    };
    const body = JSON.stringify({ schemaVersion: 2, layers: [] });
    const headers = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
    const digest = "sha256:" + (await import("node:crypto")).createHash("sha256").update(body).digest("hex");
    console.log(JSON.stringify({
      upload: await status("/blobs/uploads/", { method: "POST" }),
      tag: await status("/manifests/latest", { method: "PUT", headers, body }),
      deletion: await status("/manifests/" + digest, { method: "DELETE" }),
    }));`;

  // Where it is not reached, nothing answers: 0.
  const refused = [0, 401, 403, 405];
  let addresses: string[];

  beforeAll(async () => {
    const listeners = await platformListeners();
    addresses = listeners.flatMap((line) => /^docker-registry \S+ (\S+)$/.exec(line)?.[1] ?? []);
    expect(addresses).not.toEqual([]);
  });

  test("takes no push and no deletion from a pod", async ({ annotate }) => {
    for (const address of addresses) {
      const answers = JSON.parse(await asPod(push(address))) as Record<string, number>;
      await annotate(`${address}: ${JSON.stringify(answers)}`);
      for (const [what, status] of Object.entries(answers))
        expect(refused, `${what} at ${address}`).toContain(status);
    }
  });

  test("takes no push and no deletion from a local user", async ({ annotate }) => {
    for (const address of addresses) {
      const script = ["--input-type=module", "--eval", push(address)];
      const { all } = await asNobody(process.execPath, ...script);
      await annotate(`${address}: ${all}`);
      const answers = JSON.parse(all) as Record<string, number>;
      for (const [what, status] of Object.entries(answers))
        expect(refused, `${what} at ${address}`).toContain(status);
    }
  });

  test("is not to be answered for by a local user", async () => {
    for (const address of addresses) expect(Number(address.split(":").pop())).toBeLessThan(1024);
  });
});

describe("Argo CD's repo-server", () => {
  test("runs no program for a pod: it answers nobody without a certificate", async ({ annotate }) => {
    const { status } = await get<{ status: { podIP: string } }>("pod", attacker, "--namespace", namespace);
    const answer = await asPod(await generateManifest(status.podIP));
    await annotate(answer.slice(0, 500));
    expect(answer).not.toContain(mark);
    // And not for a fault of the attack's own: it is turned away before it has said anything.
    expect(answer).toMatch(
      /^(refused: .*(alert|handshake|certificate|disconnected|ECONNRESET|hang up)|closed)/i,
    );
  });
});
