/** What an agent keeps on its node: lines as JSON, in files that are rotated while they are read. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { download, Refused } from "./download.ts";
import { linesOf } from "./lines.ts";

/** A line as the agent prints and stores it. */
export interface StoredLine {
  /** As the line itself begins; null for a text that is no line of the API, whose `message` is all of it. */
  time: string | null;
  request_id: string | null;
  message: string;
  /** Null where the agent did not know the pod any more. */
  pod: string | null;
  namespace: string | null;
  uid: string;
  /** Which log, over its rotations; with the offset and the line it says whether two are one. */
  file: string;
  offset: number;
}

const active = "lines.jsonl";
const isStoreFile = (name: string): boolean => name.startsWith("lines") && name.endsWith(".jsonl");

interface Entry {
  name: string;
  type: string;
}

async function listing(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/`, { signal: AbortSignal.timeout(30_000) });
  if (!answer.ok) throw new Refused(`${url}/`, answer.status);
  const entries = (await answer.json()) as Entry[];
  return entries.filter(({ name, type }) => type === "file" && isStoreFile(name)).map(({ name }) => name);
}

/**
 * Fetches every file of a node's store into a directory; returns their paths and their bytes.
 * The file being written comes first: what is rotated away after that is in the listing, under its new name.
 */
export async function fetchStore(
  url: string,
  directory: string,
): Promise<{ files: string[]; bytes: number }> {
  await mkdir(directory, { recursive: true });
  const files: string[] = [];
  let bytes = 0;
  const take = async (name: string): Promise<void> => {
    const file = join(directory, name === active ? "active.jsonl" : name);
    bytes += await download(`${url}/${name}`, file);
    files.push(file);
  };
  const names = await listing(url);
  if (names.includes(active)) {
    await take(active).catch((error) => {
      // Between two files for a moment.
      if (!isAbsent(error)) throw error;
    });
  }
  for (const name of (await listing(url)).filter((found) => found !== active)) {
    try {
      await take(name);
    } catch (error) {
      // Dropped by its age meanwhile; anything else that is missing is an error.
      if (!isAbsent(error) || (await listing(url)).includes(name)) throw error;
    }
  }
  return { files, bytes };
}

const isAbsent = (error: unknown): boolean => error instanceof Refused && error.status === 404;

/** The lines in a store's file, and how many pieces of it are none: what a killed agent had half written. */
export async function* storedLinesOf(path: string, torn: () => void): AsyncGenerator<StoredLine> {
  for await (const text of linesOf(path)) {
    if (text === "") continue;
    // The half line of a killed agent has the next one on its line; no string value can hold this beginning unescaped.
    for (const piece of text.split(/(?=\{"file":")/)) {
      const line = parse(piece);
      if (line) yield line;
      else torn();
    }
  }
}

function parse(text: string): StoredLine | undefined {
  try {
    const line = JSON.parse(text) as StoredLine;
    if (typeof line.uid !== "string" || typeof line.message !== "string" || typeof line.offset !== "number")
      return undefined;
    return line;
  } catch {
    return undefined;
  }
}

/** A stored line's text as its file had it. */
export const textOf = ({ time, request_id, message }: StoredLine): string =>
  time === null || request_id === null ? message : `${time} ${request_id} ${message}`;
