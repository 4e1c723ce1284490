// Optional: without it the page loses only copying, sorting and the mark of the current section.
for (const again of document.querySelectorAll(".again")) {
  const button = document.createElement("button");
  [button.className, button.type, button.textContent] = ["copy", "button", "Copy"];
  button.onclick = async () => {
    const pre = again.querySelector("pre");
    try { await navigator.clipboard.writeText(pre.textContent); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(pre); }
    setTimeout(() => button.textContent = "Copy", 1500);
  };
  again.querySelector(".lab").append(button);
}
const head = document.querySelector("#claims-table thead th:nth-child(4)");
if (head) {
  const button = document.createElement("button");
  [button.textContent, button.title, head.textContent] = [head.textContent, "Sort within each group", ""];
  head.append(button);
  let up = 1;
  button.onclick = () => {
    up = -up;
    head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
    for (const group of document.querySelectorAll("#claims-table tbody"))
      [...group.querySelectorAll("tr[data-d]")].sort((a, b) => up * (a.dataset.d - b.dataset.d)).forEach(row => group.append(row));
  };
}
const links = new Map([...document.querySelectorAll(".toc a")].map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(entries => {
  for (const entry of entries.filter(entry => entry.isIntersecting)) {
    document.querySelector(".toc a[aria-current]")?.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
links.forEach((_, id) => { const part = document.getElementById(id); if (part && id !== "tables") seen.observe(part); });
