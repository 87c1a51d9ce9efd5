import { once } from "node:events";
import { truncateSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve } from "../src/serve.ts";
import { Platform, post } from "./platform.ts";

const platform = new Platform();
beforeAll(() => platform.start());
afterAll(() => platform.stop());

test("says what the newest archive's manifest says, and what is wrong with the files", async () => {
  const server = await serve(platform.archives, 0);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const figures = async (): Promise<Record<string, number>> => {
    const text = await (await fetch(`${url}/metrics`)).text();
    const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return Object.fromEntries(
      samples.map((line) => line.split(" ")).map(([name, value]) => [name, Number(value)]),
    );
  };
  expect(await figures()).toMatchObject({ log_archives: 0, log_archive_last_success_timestamp_seconds: 0 });

  const pod = await platform.startPod("app-a");
  await platform.startStore("store-1");
  for (const message of ["one", "two"]) await post(pod, message);
  await platform.run("archive");
  const good = await figures();
  expect(good).toMatchObject({
    log_archives: 1,
    log_archives_damaged: 0,
    log_archive_lines: 2,
    log_archive_pods: 1,
    'log_archive_missed_sources{kind="pod"}': 0,
  });
  expect(good.log_archive_size_bytes).toBeGreaterThan(100);
  expect(good.log_archive_volume_free_bytes).toBeGreaterThan(0);
  const success = good.log_archive_last_success_timestamp_seconds ?? 0;
  expect(Math.abs(success - Date.now() / 1000)).toBeLessThan(60);

  platform.pods.push({
    name: "app-b",
    uid: "b",
    port: await platform.listen((_req, res) => void res.writeHead(403).end()),
  });
  await platform.run("archive");
  writeFileSync(join(platform.archives, "app-logs-20200101T000000.000Z.json"), "{");
  truncateSync(join(platform.archives, platform.stored().findLast((name) => name.endsWith("gz")) ?? ""), 10);
  expect(await figures()).toMatchObject({
    log_archives: 2,
    log_archives_damaged: 2,
    'log_archive_missed_sources{kind="pod"}': 1,
    log_archive_last_success_timestamp_seconds: success,
  });

  expect((await fetch(`${url}/livez`)).status).toBe(200);
  expect((await fetch(`${url}/other`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: "POST" })).status).toBe(405);
  server.close();
  server.closeAllConnections();
  await once(server, "close");
});
