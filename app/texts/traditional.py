"""Write the Traditional Chinese texts from the Simplified ones: `python -m app.texts.traditional`.

OpenCC converts characters and everyday words as in Taiwan (s2twp); TERMS has the words of this field, which OpenCC
does not know or takes for others. Keys, {places}, formulas, code and addresses are Latin letters, so they stay as they
are. The written files are checked in: only this program and the tests need OpenCC (requirements-dev.txt).
"""

import re
from pathlib import Path

TEXTS = Path(__file__).parent
SIMPLIFIED, TRADITIONAL = "zh", "zh-Hant"
CONFIG = "s2twp"

# Simplified -> as written in Taiwan; of two that begin at one place, the longer counts
TERMS = {
    SIMPLIFIED + "-Hans": TRADITIONAL,  # the document's language, in page.tag
    "language: " + SIMPLIFIED: "language: " + TRADITIONAL,  # what a chapter asks to name the classes
    "“": "「", "”": "」", "‘": "『", "’": "』",
    # Noise, schedules, networks
    "噪点": "雜訊", "噪声": "雜訊", "造点": "造點", "水平": "程度", "信噪比": "訊噪比", "参数": "參數",
    "像素": "像素", "灰度": "灰階", "位图片": "位元圖片", "调度类型": "排程類型", "随机数": "亂數",
    "随机数发生器": "亂數產生器", "教程": "教學",
    # Probability and analysis
    "方差": "變異數", "协方差": "共變異數", "标准分": "標準分數", "似然": "概似", "分布": "分布",
    "边缘分布": "邊際分布", "正态": "常態", "期望": "期望值", "马尔可夫": "馬可夫", "贝叶斯": "貝氏", "函数": "函數",
    "质量": "質量", "质量与网络次数": "品質與網路次數", "质量（越": "品質（越", "舍入": "捨入", "取整": "取整數",
    "账": "帳", "表达式": "式子", "循环": "迴圈",
    # In Taiwan a row is 列 and a column 欄
    "同一列": "同一欄", "第一列": "第一欄", "最后一列": "最後一欄", "每一列": "每一欄", "其余各列": "其餘各欄",
    "那一列": "那一欄", "，两行是": "，兩列是", "那一行的噪声": "那一列的雜訊", "所以各行": "所以各列",
    "一类一行": "一類一列", "下面两行离": "下面兩列離", "上下两行": "上下兩列", "最后一行": "最後一列",
    "每一行都看": "每一列都看", "这一行就不": "這一列就不", "只有这一行": "只有這一列", "表里的行": "表裡的列",
    "的行一行一行": "的列一列一列", "行里，": "列裡，", "正确的行": "正確的列", "行成立": "列成立",
    "row: 行": "row: 列", "一行里至少": "一列裡至少",
    # Words of a page
    "对比": "比較", "对比越强": "對比越強", "点击": "點一下", "或点击选择": "或點一下來選擇", "标签页": "分頁",
    "下划线": "底線", "短横": "短橫線", "打开": "打開", "接口": "程式介面", "连衣裙": "洋裝",
    "文本块": "文字區塊", "返回": "回傳", "这台": "這台", "工作台": "工作台", "台阶": "台階",
    # Where OpenCC cuts a sentence into the wrong words
    "只": "只", "里": "裡", "块面积": "塊面積", "添加": "添加",
}  # fmt: skip
TERM = re.compile("|".join(map(re.escape, sorted(TERMS, key=len, reverse=True))))


def sources() -> list[Path]:
    """Return the files in Simplified Chinese: the texts of the page, and the chapters."""
    return [TEXTS / f"{SIMPLIFIED}.json", *sorted((TEXTS / "maths" / SIMPLIFIED).glob("*.md"))]


def target(source: Path) -> Path:
    """Return where the converted file of a source is."""
    if source.parent == TEXTS:
        return TEXTS / f"{TRADITIONAL}.json"
    return TEXTS / "maths" / TRADITIONAL / source.name


def converted(text: str) -> str:
    """Return a text in Traditional Chinese, as in Taiwan."""
    from opencc import OpenCC

    convert, parts, end = OpenCC(CONFIG).convert, [], 0
    for term in TERM.finditer(text):
        parts += [convert(text[end : term.start()]), TERMS[term[0]]]
        end = term.end()
    return "".join([*parts, convert(text[end:])])


if __name__ == "__main__":
    for path in sources():
        target(path).parent.mkdir(exist_ok=True)
        target(path).write_text(converted(path.read_text(encoding="utf-8")), encoding="utf-8")
