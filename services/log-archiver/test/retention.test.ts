import { expect, test } from "vitest";
import { archiveName, type Manifest, momentOf } from "../src/manifest.ts";
import { expired } from "../src/retention.ts";

const made = (time: string, complete = true): Manifest =>
  ({ archive: archiveName(new Date(time)), complete }) as Manifest;

const hourly = (days: number): Manifest[] =>
  Array.from({ length: days * 24 }, (_, hour) => made(new Date(Date.UTC(2026, 0, 1, hour)).toISOString()));

const left = (manifests: Manifest[], ...rule: [number, number, number]): string[] => {
  const [last, daily, weekly] = rule;
  const gone = new Set(expired(manifests, { last, daily, weekly }));
  return manifests
    .filter((m) => !gone.has(m))
    .map(({ archive }) => momentOf(archive).toISOString().slice(0, 13));
};

test("an archive's name says when it was made, to the millisecond", () => {
  const moment = new Date("2026-11-23T11:22:33.456Z");
  expect(archiveName(moment)).toBe("app-logs-20261123T112233.456Z.tar.gz");
  expect(momentOf(archiveName(moment))).toEqual(moment);
});

test("keeps the newest ones, and the newest of each day and week", () => {
  expect(left(hourly(2), 3, 0, 0)).toEqual(["2026-01-02T21", "2026-01-02T22", "2026-01-02T23"]);
  expect(left(hourly(4), 1, 3, 0)).toEqual(["2026-01-02T23", "2026-01-03T23", "2026-01-04T23"]);
  // 2026-01-05 is a Monday.
  expect(left(hourly(14), 1, 0, 3)).toEqual(["2026-01-04T23", "2026-01-11T23", "2026-01-14T23"]);
});

test("never removes everything, nor the newest complete one", () => {
  expect(left(hourly(1), 0, 0, 0)).toEqual(["2026-01-01T23"]);
  const failing = [
    made("2026-01-01T00:00:00Z"),
    ...[1, 2, 3].map((h) => made(`2026-01-01T0${h}:00:00Z`, false)),
  ];
  expect(left(failing, 1, 0, 0)).toEqual(["2026-01-01T00", "2026-01-01T03"]);
  expect(left(failing, 0, 0, 0)).toEqual(["2026-01-01T00", "2026-01-01T03"]);
  expect(expired([], { last: 0, daily: 0, weekly: 0 })).toEqual([]);
});

test("prefers a day's complete archive to a later one that is not", () => {
  const day = [
    made("2026-01-01T10:00:00Z"),
    made("2026-01-01T11:00:00Z", false),
    made("2026-01-02T10:00:00Z"),
  ];
  expect(left(day, 1, 2, 0)).toEqual(["2026-01-01T10", "2026-01-02T10"]);
});
