import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, expect, test } from "vitest";
import { bundle } from "./bundle.ts";

const directory = mkdtempSync(join(tmpdir(), "bundle-"));
const entry = join(directory, "entry.ts");
const made: string[] = [];
afterAll(() => {
  for (const path of [directory, ...made, ...made.map((file) => file.replace(/mjs$/, "json"))])
    rmSync(path, { recursive: true, force: true });
});

const says = async (): Promise<string> => {
  const file = await bundle(entry);
  made.push(file);
  return (await execa(process.execPath, [file, "given"])).stdout;
};

test("a bundle runs as its source does, is kept, and follows each file that it was made from", async () => {
  writeFileSync(
    entry,
    'import { word } from "./word.ts";\nconsole.log(word as string, process.argv[2], import.meta.dirname, import.meta.url);\n',
  );
  writeFileSync(join(directory, "word.ts"), 'export const word: string = "one";\n');
  const place = `given ${directory} file://${entry}`;
  expect(await says()).toBe(`one ${place}`);
  const before = statSync(made[0] ?? "").ino;
  expect(await says()).toBe(`one ${place}`);
  expect(statSync(made[0] ?? "").ino).toBe(before);
  writeFileSync(join(directory, "word.ts"), 'export const word: string = "another";\n');
  expect(await says()).toBe(`another ${place}`);
});

test("any number of processes may ask at once", async () => {
  writeFileSync(join(directory, "word.ts"), 'export const word: string = "at once";\n');
  const all = await Promise.all(Array.from({ length: 5 }, says));
  expect(all.every((said) => said.startsWith("at once given"))).toBe(true);
});
