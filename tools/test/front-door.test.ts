/** What people open first says what the sources say: options, decisions, and where the tests can be run. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkout, pinnedVersions } from "../../lib/repository.ts";

const read = (file: string): string => readFileSync(join(checkout, file), "utf8");

describe("the options for an existing cluster", () => {
  const page = read("docs/existing-cluster.md");
  const help = read("deploy.sh").split("<<'TEXT'\n")[1]?.split("\nTEXT\n")[0] ?? "";
  /** Options with what they take, as a part of the help lists them. */
  const optionsIn = (part: string): string[] =>
    [...part.matchAll(/^ {2}(?:-\w, )?(--[\w-]+(?: \S+)?) {2,}/gm)].map(([, option = ""]) => option);
  const [, own = ""] = /^Options for an existing cluster.*?\n(.*?)\n\n/ms.exec(help) ?? [];

  test("are in the page, each with what it takes", () => {
    expect(optionsIn(own).length).toBeGreaterThan(8);
    const shown = /`[^`]+`|```sh.*?```/gs;
    const code = [...page.matchAll(shown)].map(([text]) => text).join("\n");
    expect(optionsIn(own).filter((option) => !code.includes(option))).toEqual([]);
  });

  test("that the page's table has are in the help", () => {
    const table = [...page.matchAll(/^\| `(--[^`]+)` \|/gm)].map(([, option = ""]) => option);
    expect(table.length).toBeGreaterThan(6);
    expect(table.filter((option) => !optionsIn(help).includes(option))).toEqual([]);
  });
});

describe("decisions", () => {
  const files = readdirSync(join(checkout, "docs/adr"));
  test.each(files)("%s has its number, a status and a date", (file) => {
    const [, number] = /^0*(\d+)-/.exec(file) ?? [];
    const [title, , status] = read(`docs/adr/${file}`).split("\n");
    expect(title).toMatch(new RegExp(`^# ${number}\\. `));
    expect(status).toMatch(
      /^Status: (accepted|superseded by \[ADR \d+\]\(\d{4}-[\w-]+\.md\)), \d{4}-\d\d-\d\d\.$/,
    );
  });

  test("name the figures of the page of measurements as it has them", () => {
    const measured = read("docs/performance.md");
    const figures = files.flatMap((file) =>
      read(`docs/adr/${file}`)
        .split(/\n\s*\n|\n- /)
        .filter((part) => part.includes("performance.md)"))
        .flatMap((part) => part.match(/\b\d[\d,.]* (?:%|s|ms|MB|MiB)(?!\w)/g) ?? []),
    );
    expect(figures.length).toBeGreaterThan(0);
    expect(figures.filter((figure) => !measured.includes(figure))).toEqual([]);
  });
});

describe("the container for development", () => {
  const { image, features } = JSON.parse(read(".devcontainer/devcontainer.json")) as {
    image: string;
    features: Record<string, { version: string }>;
  };
  const version = (name: string): string | undefined =>
    Object.entries(features).find(([feature]) => feature.includes(`/${name}:`))?.[1].version;
  const pins = pinnedVersions(checkout);

  test("has the Debian and the Node that the images have", () => {
    expect(image).toBe(`docker.io/library/debian:${pins.debian}`);
    expect(version("node")).toBe(pins.node?.split(".")[0]);
  });

  test("has a Node that the package takes, and a Go", () => {
    const { engines } = JSON.parse(read("package.json")) as { engines: { node: string } };
    expect(Number(version("node"))).toBeGreaterThanOrEqual(Number(engines.node.replace(">=", "")));
    expect(version("go")).toBe("latest");
  });
});
