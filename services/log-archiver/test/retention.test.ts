import { expect, test } from "vitest";
import {
  archiveName,
  type Cursors,
  dayArchiveName,
  dayOf,
  isArchiveName,
  isManifestName,
  type Manifest,
  manifestName,
  newestCursors,
  parseManifest,
} from "../src/manifest.ts";
import { ageReference, expired } from "../src/retention.ts";

const now = new Date("2026-03-01T00:00:00.000Z");

const made = (time: string, last: string | undefined, more: Partial<Manifest> = {}): Manifest =>
  ({
    archive: archiveName(new Date(time)),
    finished: time,
    pods: last === undefined ? [] : [{ last }],
    ...more,
  }) as Manifest;

const gone = (manifests: Manifest[], days = 30): string[] =>
  expired(manifests, days, now).map(({ archive }) => archive);

test("names say the moment or the day, and sort as these do", () => {
  const moment = archiveName(new Date("2026-11-23T11:22:33.456Z"));
  expect(moment).toBe("app-logs-20261123T112233.456Z.tar.gz");
  expect(dayOf(moment)).toEqual({ day: "2026-11-23", whole: false });
  const day = dayArchiveName("2026-11-23", 2);
  expect(day).toBe("app-logs-20261123.2.tar.gz");
  expect(dayOf(day)).toEqual({ day: "2026-11-23", whole: true });
  const names = [dayArchiveName("2026-11-22", 1), day, moment, dayArchiveName("2026-11-24", 1)];
  expect(names.toSorted()).toEqual(names);
  for (const name of names) {
    expect([isArchiveName(name), isManifestName(manifestName(name))]).toEqual([true, true]);
    for (const other of [`${name}.partial`, `x${name}`, manifestName(name)])
      expect([other, isArchiveName(other)]).toEqual([other, false]);
  }
});

test("an archive goes when its newest line is older than the days that are kept, and so is its making", () => {
  const manifests = [
    made("2026-01-29T23:59:59.000Z", "2026-01-29T23:50:00.000Z"),
    made("2026-01-30T00:00:00.000Z", "2026-01-29T23:59:00.000Z"),
    // Made late of old lines, or of a clock that went ahead.
    made("2026-01-31T00:00:00.000Z", "2026-01-01T00:00:00.000Z"),
    made("2026-01-02T00:00:00.000Z", "2026-02-20T00:00:00.000Z"),
    // Without a line.
    made("2026-01-03T00:00:00.000Z", undefined),
    made("2026-02-28T00:00:00.000Z", "2026-02-28T00:00:00.000Z", { sequence: 9 }),
  ];
  expect(gone(manifests)).toEqual([
    "app-logs-20260129T235959.000Z.tar.gz",
    "app-logs-20260103T000000.000Z.tar.gz",
  ]);
  expect(gone(manifests, 1)).toHaveLength(5);
});

test("the platform's newest archive stays, whatever its age: its cursors say where the next run goes on", () => {
  const old = [
    made("2025-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z", { sequence: 1 }),
    made("2025-01-02T00:00:00.000Z", "2025-01-02T00:00:00.000Z", { sequence: 3 }),
    // The clock went back.
    made("2025-01-03T00:00:00.000Z", "2025-01-03T00:00:00.000Z", { sequence: 2 }),
    made("2025-01-04T00:00:00.000Z", "2025-01-04T00:00:00.000Z", { sequence: 7, imported: "2025-02-01" }),
  ];
  expect(gone(old)).not.toContain("app-logs-20250102T000000.000Z.tar.gz");
  expect(gone(old)).toHaveLength(3);
  expect(gone([])).toEqual([]);
});

test("cursors are those of the platform's own newest archive", () => {
  const cursors = (node: string) => ({
    pods: {},
    stores: { [node]: { files: {}, active: undefined, seen: "" } },
    dropped: { pod: 1, "node-store": 2 },
  });
  const found = newestCursors([
    made("2026-01-03T00:00:00.000Z", undefined, { sequence: 2, cursors: cursors("b") }),
    made("2026-01-01T00:00:00.000Z", undefined, { sequence: 3, cursors: cursors("c") }),
    made("2026-01-02T00:00:00.000Z", undefined, {
      sequence: 8,
      cursors: cursors("d"),
      imported: "2026-01-02",
    }),
    made("2026-01-04T00:00:00.000Z", undefined),
  ]);
  expect(found).toEqual({ cursors: cursors("c"), sequence: 4 });
  expect(newestCursors([])).toEqual({
    cursors: { pods: {}, stores: {}, dropped: { pod: 0, "node-store": 0 } },
    sequence: 1,
  });
});

test("cursors of before bytes were counted, or with a count that is none, begin at 0", () => {
  for (const dropped of [undefined, {}, { pod: null, "node-store": null }]) {
    const cursors = { pods: {}, stores: {}, dropped } as unknown as Cursors;
    const found = newestCursors([made("2026-01-01T00:00:00.000Z", undefined, { sequence: 1, cursors })]);
    expect(found.cursors.dropped).toEqual({ pod: 0, "node-store": 0 });
  }
});

test("ages count from now, and at most from a day after the last run: a clock that is ahead removes nothing", () => {
  const last = made("2026-02-28T23:50:00.000Z", "2026-02-28T23:50:00.000Z", { sequence: 2 });
  const other = made("2026-04-30T00:00:00.000Z", undefined, { sequence: 1 });
  expect(ageReference([last, other], now)).toEqual(now);
  const ahead = new Date("2026-04-15T00:00:00.000Z");
  expect(ageReference([last, other], ahead)).toEqual(new Date("2026-03-01T23:50:00.000Z"));
  expect(ageReference([], ahead)).toEqual(ahead);
});

test("a manifest that would write elsewhere, or is none, is refused", () => {
  const manifest = { version: 2, archive: archiveName(now), sha256: "x", pods: [{ file: "app-a.log" }] };
  expect(parseManifest(JSON.stringify(manifest))).toEqual(manifest);
  for (const other of [
    { version: 3 },
    { archive: "../app-logs-20261123T112233.456Z.tar.gz" },
    { archive: "x" },
    { sha256: undefined },
    { pods: [{ file: "../app-a.log" }] },
    { pods: [{ file: "/etc/passwd" }] },
    { pods: [{ file: "..log" }] },
  ])
    expect(() => parseManifest(JSON.stringify({ ...manifest, ...other })), JSON.stringify(other)).toThrow(
      SyntaxError,
    );
});
