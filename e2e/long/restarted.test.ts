/** A machine that was restarted: all that a kernel has is gone, the state directory is there, and `./deploy.sh` goes on from it. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { linesWith, post, send } from "../app.ts";
import { identity, uids } from "../identity.ts";
import { forgetKernel, stateDirectory, traces } from "../machine.ts";
import { deploy } from "../platform.ts";

const bootstrapMs = 900_000;
const whole = async (): Promise<object> => ({
  ...(await identity()),
  secrets: await uids("secrets", "--all-namespaces"),
});

// Whatever came of it, the next file needs a platform.
afterAll(async () => {
  await deploy();
}, bootstrapMs);

test("./deploy.sh brings the same platform back after a restart of the machine", {
  timeout: bootstrapMs,
}, async ({ annotate }) => {
  const before = await whole();
  const message = randomUUID();
  expect((await post(message)).status).toBe(200);
  await forgetKernel();
  // Nothing but files: that is what a boot finds.
  const left = (await traces()).filter((trace) => !/^(path|git remote|git setting) /.test(trace));
  expect(left).toEqual([]);
  expect(existsSync(stateDirectory)).toBe(true);
  await expect(send("/")).rejects.toThrow(/ECONNREFUSED/);

  const run = await deploy();
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  await annotate(`back in ${run.seconds} s`);
  expect(await whole()).toEqual(before);
  expect((await send("/status")).status).toBe(200);
  await until("the line posted before", 120, async () => {
    const found = [...(await linesWith(message)).values()].flat();
    return found.length === 1 ? undefined : `${found.length} files have it`;
  });
});
