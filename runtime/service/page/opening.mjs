// The ways in which a photo gets onto the page: file dialog, drop, paste, the example, and wp paint.

/** Returns the first picture of a drop or of the clipboard; null if there is none. */
function findFile(transfer) {
  return [...(transfer?.files ?? [])][0] ?? null;
}

/**
 * Listens for photos.
 *
 * @param parts { button, choose, example, input }: elements.
 * @param open Called with a blob and its name.
 * @param complain Called with what is wrong.
 */
export function listenForPhotos({ buttons, example, input }, open, complain) {
  for (const button of buttons) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) open(input.files[0], input.files[0].name);
    input.value = ""; // so that the same file can be opened again
  });
  example.addEventListener("click", async () => {
    const response = await fetch(new URL("./example.jpg", import.meta.url));
    open(await response.blob(), "example.jpg");
  });
  addEventListener("paste", (event) => {
    const file = findFile(event.clipboardData);
    if (file) open(file, file.name || "pasted.png");
    else complain("The clipboard has no picture. Copy one, or a file, and paste again.");
  });
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const show = (isOver) => document.body.classList.toggle("dropping", isOver);
  addEventListener("dragenter", (event) => isFile(event) && show(++depth > 0));
  addEventListener("dragleave", (event) => isFile(event) && show(--depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    show(false);
    const file = findFile(event.dataTransfer);
    if (file) open(file, file.name);
    else complain("What was dropped is no file. Drop a photo from a folder.");
  });
}

/** Returns the file name of a Content-Disposition header. */
function readName(header) {
  const [, encoded] = /filename\*=UTF-8''([^;]+)/i.exec(header) ?? [];
  const [, plain] = /filename="?([^";]+)"?/i.exec(header) ?? [];
  return encoded ? decodeURIComponent(encoded) : (plain ?? "photo");
}

/**
 * Does what wp paint asks for in the address: #paint keeps its server alive while the page is open, and #photo also
 * opens the photo of the command line.
 */
export async function followCommandLine(open, complain) {
  if (!["#paint", "#photo"].includes(location.hash)) return;
  new EventSource("v1/alive");
  if (location.hash !== "#photo") return;
  const response = await fetch("v1/photo");
  if (!response.ok) return complain("The photo of the command line could not be read. Open it here.");
  await open(await response.blob(), readName(response.headers.get("Content-Disposition") ?? ""));
}
