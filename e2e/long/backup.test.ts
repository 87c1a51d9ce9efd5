/** Row 17 of the doors: a platform is saved, destroyed and made again from the file, and is the one that it was. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { post, send } from "../app.ts";
import { cloneOfConverged, converged, endClone } from "../applications.ts";
import type { Clone } from "../clone.ts";
import { identity } from "../identity.ts";
import { kubectl, secret } from "../kubectl.ts";
import { archiveNow, restored } from "../lines.ts";
import { deploy, gitops } from "../platform.ts";

const directory = mkdtempSync(join(tmpdir(), "e2e-backup-"));
const file = join(directory, "a platform.tar.gz");
const text = randomUUID();
let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
});
afterAll(async () => {
  await kubectl(["-n", "default", "delete", "secret", "e2e-backup", "--ignore-not-found"]);
  await endClone(clone);
  rmSync(directory, { recursive: true });
});

const whole = async (): Promise<object> => ({
  ...(await identity()),
  secret: await secret("default", "e2e-backup"),
  admin: await secret("argocd", "argocd-initial-admin-secret"),
});

test("a platform comes back from its backup: objects, Secrets, Git and lines", async ({ annotate }) => {
  await kubectl([
    "-n",
    "default",
    "create",
    "secret",
    "generic",
    "e2e-backup",
    `--from-literal=text=${text}`,
  ]);
  clone.edit("gitops/apps/logging/base/app/config.env", (env) =>
    env.replace(/^GREETING=.*$/m, `GREETING=${text}`),
  );
  const commit = await clone.push("e2e: a commit that only the platform has");
  await converged(commit);
  expect((await post(text)).status).toBe(200);
  expect((await archiveNow()).exitCode).toBe(0);
  const before = await whole();

  const saved = await deploy(["backup", file]);
  expect(saved.exitCode, saved.stdout + saved.stderr).toBe(0);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await annotate(`saved in ${saved.seconds} s: ${saved.stdout.trim().split("\n").pop()}`);
  // What is there is neither overwritten by a backup nor by a restore.
  expect(await deploy(["backup", file])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("already exists"),
  });
  expect(await deploy(["restore", file])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("a platform already exists"),
  });
  expect(await whole()).toEqual(before);

  const gone = await deploy(["destroy"]);
  expect(gone.exitCode, gone.stdout + gone.stderr).toBe(0);
  const made = await deploy(["restore", file]);
  expect(made.exitCode, made.stdout + made.stderr).toBe(0);
  await annotate(`made from it in ${made.seconds} s`);

  expect(await whole()).toEqual(before);
  // By its hash: HEAD is this checkout's, which the platform need not have.
  expect(await gitops("wait", commit)).toMatchObject({ exitCode: 0 });
  expect((await send("/")).body).toContain(text);
  expect((await restored(text)).length).toBeGreaterThan(0);
  expect((await post(`${text} after`)).status).toBe(200);
  // And it is a platform like any other: a push deploys, a second run changes nothing.
  clone.edit("gitops/apps/logging/base/app/config.env", (env) =>
    env.replace(/^GREETING=.*$/m, `GREETING=${text} again`),
  );
  await converged(await clone.push("e2e: a push to the restored platform"));
  expect((await send("/")).body).toContain(`${text} again`);
});
