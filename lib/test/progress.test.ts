import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

const columns = Object.getOwnPropertyDescriptor(process.stderr, "columns");
const isTTY = Object.getOwnPropertyDescriptor(process.stderr, "isTTY");
let written = "";

/** Loads the module as it is on a terminal of 40 columns, or without one. */
async function on(terminal: boolean) {
  for (const [name, value] of Object.entries({ isTTY: terminal, columns: terminal ? 40 : undefined }))
    Object.defineProperty(process.stderr, name, { value, configurable: true });
  vi.resetModules();
  const module = await import("../progress.ts");
  module.showStage("[ 4/10] Kubernetes");
  written = "";
  return module;
}

beforeEach(() => {
  written = "";
  vi.useFakeTimers();
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    written += text;
    return true;
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  for (const [name, descriptor] of Object.entries({ columns, isTTY })) {
    Reflect.deleteProperty(process.stderr, name);
    if (descriptor) Object.defineProperty(process.stderr, name, descriptor);
  }
});

describe("progress on a terminal", () => {
  it("rewrites one line that begins with the stage", async () => {
    const { progress } = await on(true);
    progress("starting");
    progress("waiting");
    expect(written).toBe("\r\x1b[K[ 4/10] Kubernetes starting\r\x1b[K[ 4/10] Kubernetes waiting");
  });

  it("never wraps", async () => {
    const { progress } = await on(true);
    progress("x".repeat(200));
    expect(written.replace("\r\x1b[K", "").length).toBeLessThan(40);
    expect(written).toContain("Kubernetes xxx");
  });

  it("gives way to lines that stay", async () => {
    const { note, progress } = await on(true);
    progress("starting");
    written = "";
    note("2 uncommitted changes");
    expect(written).toBe("\r\x1b[K      2 uncommitted changes\n");
  });
});

describe("progress elsewhere", () => {
  it("is a plain line now and then", async () => {
    const { progress } = await on(false);
    progress("starting");
    vi.advanceTimersByTime(19_999);
    progress("waiting");
    expect(written).toBe("");
    vi.advanceTimersByTime(1);
    progress("almost there");
    progress("done");
    expect(written).toBe("      … almost there\n");
    vi.advanceTimersByTime(20_000);
    progress("again");
    expect(written).toBe("      … almost there\n      … again\n");
  });

  it("prints lines that stay at once, without control characters", async () => {
    const { note } = await on(false);
    note("2 uncommitted changes");
    expect(written).toBe("      2 uncommitted changes\n");
  });
});
