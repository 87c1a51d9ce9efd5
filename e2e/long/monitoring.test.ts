/** D4: an alert that takes its time: the archiver stops, and half an hour later somebody is told. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { cloneOfConverged, converged, endClone } from "../applications.ts";
import type { Clone } from "../clone.ts";
import { get, kubectl } from "../kubectl.ts";
import { alerts, fired, number } from "../prometheus.ts";

const cronJob = "gitops/apps/logging/base/log-archiver/cronjob.yaml";
let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
});

afterAll(() => endClone(clone));

test("D4 a stopped archiver is reported by its archive's age, and the report ends with the next archive", async ({
  annotate,
}) => {
  const newest = "max(log_archive_last_success_timestamp_seconds)";
  await until("a first archive", 1200, async () => ((await number(newest)) > 0 ? undefined : "none yet"));
  // Through Git: what is changed by hand is changed back.
  clone.edit(cronJob, (text) => text.replace("\nspec:\n", "\nspec:\n  suspend: true\n"));
  await converged(await clone.push("e2e: the archiver stops"));
  const suspended = await get<{ spec: { suspend?: boolean } }>("cronjob", "log-archiver", "-n", "logging");
  expect(suspended.spec.suspend).toBe(true);
  const alert = await fired("LogArchiveTooOld", 2700);
  expect(alert.labels.severity).toBe("critical");
  const age = Date.now() / 1000 - (await number(newest));
  await annotate(`fired at an age of ${Math.round(age)} s`);
  expect(age).toBeGreaterThan(1500);
  await clone.git("read-tree", "--reset", "-u", clone.found);
  await converged(await clone.push("e2e: the archiver runs"));
  await kubectl(["-n", "logging", "create", "job", "--from=cronjob/log-archiver", "e2e-by-hand"]);
  try {
    await until("the alert's end", 600, async () => {
      const still = (await alerts()).some(({ labels }) => labels.alertname === "LogArchiveTooOld");
      return still ? "it still fires" : undefined;
    });
  } finally {
    await kubectl(["-n", "logging", "delete", "job", "e2e-by-hand", "--ignore-not-found"]);
  }
});
